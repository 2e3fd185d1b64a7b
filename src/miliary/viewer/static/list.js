// The list of nodules: only the rows in sight exist, so that 10,000 are as quick as ten.

const ROW_PX = 24;
const SPARE_ROWS = 6;

export function filterNodules(columns, wanted) {
  const words = wanted.text.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  for (let row = 0; row < columns.id.length; row++) {
    if (wanted.kind && columns.attenuation[row] !== wanted.kind) continue;
    if (wanted.fate && columns.fate[row] !== wanted.fate) continue;
    if (wanted.smallest > 0 && !(columns.diameter_mm[row] >= wanted.smallest)) continue;
    if (words.length && !words.every((word) => matches(columns, row, word))) continue;
    rows.push(row);
  }
  const key = columns[wanted.order];
  const sign = wanted.order === "diameter_mm" || wanted.order === "z_mm" ? -1 : 1;
  // What has no value comes last in either order.
  rows.sort((a, b) => (key[a] == null) - (key[b] == null) || sign * (key[a] - key[b]) || a - b);
  return rows;
}

function matches(columns, row, word) {
  return (
    String(columns.id[row]) === word ||
    columns.side[row] === word ||
    columns.zone[row].startsWith(word) ||
    columns.attenuation[row].startsWith(word) ||
    columns.flags[row].includes(word) ||
    fateWords(columns.fate[row]).startsWith(word)
  );
}

export function fateWords(fate) {
  return (fate ?? "").replaceAll("_", " ");
}

export class NoduleList {
  constructor(element, { onPick, isRejected }) {
    this.element = element;
    this.onPick = onPick;
    this.isRejected = isRejected;
    this.columns = null;
    this.rows = [];
    this.place = -1;
    this.inner = document.createElement("div");
    this.inner.className = "rows";
    this.inner.setAttribute("role", "presentation");
    element.append(this.inner);
    element.addEventListener("scroll", () => this.draw());
    // By place and not by element: rows may be drawn anew between press and release.
    element.addEventListener("click", (event) => {
      const place = Math.floor((event.clientY - this.inner.getBoundingClientRect().top) / ROW_PX);
      if (place >= 0 && place < this.rows.length) this.pick(place);
    });
    element.addEventListener("keydown", (event) => this.onKey(event));
    new ResizeObserver(() => this.draw()).observe(element);
  }

  show(columns, rows, selectedId) {
    this.columns = columns;
    this.rows = rows;
    this.place = rows.findIndex((row) => columns.id[row] === selectedId);
    this.inner.style.height = `${rows.length * ROW_PX}px`;
    this.draw();
  }

  select(id) {
    this.place = this.columns ? this.rows.findIndex((row) => this.columns.id[row] === id) : -1;
    if (this.place >= 0) this.reveal();
    this.draw();
  }

  pick(place) {
    if (!this.rows.length) return;
    this.place = Math.min(Math.max(place, 0), this.rows.length - 1);
    this.reveal();
    this.draw();
    this.onPick(this.rows[this.place]);
  }

  step(by) {
    this.pick(this.place < 0 ? 0 : this.place + by);
  }

  reveal() {
    const top = this.place * ROW_PX;
    const view = this.element;
    if (top < view.scrollTop) view.scrollTop = top;
    else if (top + ROW_PX > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW_PX - view.clientHeight;
  }

  onKey(event) {
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW_PX) - 1);
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page };
    if (event.key in moves) this.step(moves[event.key]);
    else if (event.key === "Home") this.pick(0);
    else if (event.key === "End") this.pick(this.rows.length - 1);
    else if (event.key === "Enter") this.pick(this.place);
    else return;
    event.preventDefault();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_PX) - SPARE_ROWS);
    const n = Math.ceil(this.element.clientHeight / ROW_PX) + 2 * SPARE_ROWS;
    const last = Math.min(this.rows.length, first + n);
    const drawn = [];
    for (let place = first; place < last; place++) drawn.push(this.makeRow(place));
    this.inner.replaceChildren(...drawn);
    if (this.place >= first && this.place < last) {
      this.element.setAttribute("aria-activedescendant", `nodule-${this.place}`);
    } else {
      this.element.removeAttribute("aria-activedescendant");
    }
  }

  makeRow(place) {
    const row = this.rows[place];
    const c = this.columns;
    const element = document.createElement("div");
    const rejected = this.isRejected(c.id[row]);
    element.className = rejected ? "row rejected" : "row";
    element.id = `nodule-${place}`;
    element.style.top = `${place * ROW_PX}px`;
    element.setAttribute("role", "option");
    element.setAttribute("aria-selected", place === this.place);
    element.setAttribute("aria-posinset", place + 1);
    element.setAttribute("aria-setsize", this.rows.length);
    const texts = [
      `${c.id[row]}`,
      c.diameter_mm[row] == null ? "?" : `${c.diameter_mm[row].toFixed(2)} mm`,
      c.probability[row] == null ? "" : c.probability[row].toFixed(2),
      `${c.side[row]} ${c.zone[row]}`,
      rejected ? "rejected" : fateWords(c.fate[row]) || c.attenuation[row],
    ];
    for (const text of texts) {
      const cell = document.createElement("span");
      cell.textContent = text;
      element.append(cell);
    }
    return element;
  }
}
