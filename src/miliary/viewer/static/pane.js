// One scan on the screen: a picture by the server or the graphics card, and the marks over it.

const AXIS = { axial: 0, coronal: 1, sagittal: 2 };
const KEPT_SLICES = 48;
const HIT_PX = 10;

// A voxel grid in the patient: index (z, y, x) <-> LPS mm (x, y, z).
export class Grid {
  constructor(about) {
    this.shape = about.shape_zyx;
    this.spacing = about.spacing_zyx_mm;
    this.origin = about.origin_lps_mm;
    this.axes = about.axes_lps;
  }

  // The axes are orthogonal, so projection on each of them inverts the map.
  indexOf(point) {
    const d = point.map((value, i) => value - this.origin[i]);
    return this.axes.map((axis, a) => (axis[0] * d[0] + axis[1] * d[1] + axis[2] * d[2]) / this.spacing[a]);
  }

  pointOf(index) {
    return [0, 1, 2].map(
      (i) => this.origin[i] + index.reduce((sum, value, a) => sum + value * this.spacing[a] * this.axes[a][i], 0),
    );
  }
}

export class Pane {
  constructor(scan, handlers) {
    this.scan = scan;
    this.handlers = handlers;
    this.grid = scan.grid ? new Grid(scan.grid) : null;
    this.view = { plane: "axial", slab: 5, low: -1350, high: 150, marks: true };
    this.zoom = 1;
    this.center = null;
    this.cursor = this.grid ? this.grid.pointOf(this.grid.shape.map((n) => Math.floor(n / 2))) : null;
    this.columns = null;
    this.index = null;
    this.bitmap = null;
    this.bitmapKey = "";
    this.slices = new Map();
    this.graphics = null;
    this.build();
  }

  build() {
    this.element = document.createElement("section");
    this.element.className = "pane";
    this.element.setAttribute("aria-label", `Scan ${this.scan.label}`);
    const name = document.createElement("div");
    name.className = "name";
    this.nameText = document.createElement("span");
    this.nameText.textContent = this.scan.label;
    this.placeText = document.createElement("span");
    name.append(this.nameText, this.placeText);
    this.box = document.createElement("div");
    this.box.className = "view";
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "application");
    this.box.setAttribute("aria-label", `Picture of ${this.scan.label}; keys are listed under Keys`);
    this.glCanvas = document.createElement("canvas");
    this.glCanvas.hidden = true;
    this.canvas = document.createElement("canvas");
    this.box.append(this.glCanvas, this.canvas);
    const row = document.createElement("div");
    row.className = "slice-row";
    this.slider = document.createElement("input");
    this.slider.type = "range";
    this.slider.min = 0;
    this.slider.setAttribute("aria-label", `Slice of ${this.scan.label}`);
    row.append(this.slider);
    this.element.append(name, this.box, row);
    if (!this.grid) {
      const text = document.createElement("p");
      text.textContent = "No images were saved with this result.";
      this.box.replaceChildren(text);
      this.slider.disabled = true;
      return;
    }
    this.listen();
    // Painted at once: a frame later the old picture would be seen stretched.
    new ResizeObserver(() => this.paint()).observe(this.box);
  }

  listen() {
    let drag = null;
    this.box.addEventListener("focus", () => this.handlers.onActive(this));
    this.slider.addEventListener("input", () => {
      this.handlers.onActive(this);
      this.moveTo(this.withIndex(Number(this.slider.value)));
    });
    this.box.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.handlers.onActive(this);
        if (event.ctrlKey) this.handlers.onZoom(event.deltaY < 0 ? 1.15 : 1 / 1.15);
        else this.step(event.deltaY > 0 ? -1 : 1);
      },
      { passive: false },
    );
    this.box.addEventListener("pointerdown", (event) => {
      this.box.focus();
      this.box.setPointerCapture(event.pointerId);
      drag = { x: event.clientX, y: event.clientY, center: [...this.centerMm()], moved: false };
    });
    this.box.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const dx = event.clientX - drag.x;
      const dy = event.clientY - drag.y;
      if (Math.hypot(dx, dy) > 4) drag.moved = true;
      if (!drag.moved) return;
      this.center = [drag.center[0] - dx / this.scale(), drag.center[1] - dy / this.scale()];
      this.draw();
    });
    this.box.addEventListener("pointerup", (event) => {
      const clicked = drag && !drag.moved;
      drag = null;
      if (clicked) this.click(event);
    });
    this.box.addEventListener("pointercancel", () => {
      drag = null;
    });
    this.box.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.altKey && !event.metaKey && this.handlers.onKey(this, event)) event.preventDefault();
    });
  }

  // --- geometry: (u, v) is right and down in the picture, in mm from the first voxel
  axis() {
    return AXIS[this.view.plane];
  }

  flat(index) {
    const { shape, spacing } = this.grid;
    const up = (shape[0] - 1 - index[0]) * spacing[0];
    if (this.view.plane === "axial") return [index[2] * spacing[2], index[1] * spacing[1]];
    if (this.view.plane === "coronal") return [index[2] * spacing[2], up];
    return [index[1] * spacing[1], up];
  }

  unflat(u, v) {
    const { shape, spacing } = this.grid;
    const index = this.grid.indexOf(this.cursor);
    const head = shape[0] - 1 - v / spacing[0];
    if (this.view.plane === "axial") return [index[0], v / spacing[1], u / spacing[2]];
    if (this.view.plane === "coronal") return [head, index[1], u / spacing[2]];
    return [head, u / spacing[1], index[2]];
  }

  sizeMm() {
    const { shape, spacing } = this.grid;
    const mm = shape.map((n, a) => n * spacing[a]);
    return { axial: [mm[2], mm[1]], coronal: [mm[2], mm[0]], sagittal: [mm[1], mm[0]] }[this.view.plane];
  }

  // Middle and size in the plane [mm] of what is to fill the pane: the lungs once their place is known.
  frame() {
    const { shape, spacing } = this.grid;
    const box = this.lungs ?? { start_zyx: [0, 0, 0], shape_zyx: shape };
    const size = box.shape_zyx.map((n, a) => n * spacing[a]);
    const middle = this.flat(box.start_zyx.map((first, a) => first + (box.shape_zyx[a] - 1) / 2));
    const [right, down] = { axial: [2, 1], coronal: [2, 0], sagittal: [1, 0] }[this.view.plane];
    return { middle, size: [size[right], size[down]] };
  }

  setLungs(box) {
    this.lungs = box;
    this.draw();
  }

  // CSS pixels per mm.
  scale() {
    const [w, h] = this.frame().size;
    return Math.min(this.box.clientWidth / w, this.box.clientHeight / h) * this.zoom;
  }

  centerMm() {
    return this.center ?? this.frame().middle;
  }

  toScreen([u, v]) {
    const [cu, cv] = this.centerMm();
    const s = this.scale();
    return [this.box.clientWidth / 2 + (u - cu) * s, this.box.clientHeight / 2 + (v - cv) * s];
  }

  fromScreen(x, y) {
    const [cu, cv] = this.centerMm();
    const s = this.scale();
    return [cu + (x - this.box.clientWidth / 2) / s, cv + (y - this.box.clientHeight / 2) / s];
  }

  slice() {
    const place = Math.round(this.grid.indexOf(this.cursor)[this.axis()]);
    return Math.min(Math.max(place, 0), this.grid.shape[this.axis()] - 1);
  }

  nSlices() {
    return Math.max(1, Math.round(this.view.slab / this.grid.spacing[this.axis()]));
  }

  withIndex(value) {
    const index = this.grid.indexOf(this.cursor);
    index[this.axis()] = Math.min(Math.max(value, 0), this.grid.shape[this.axis()] - 1);
    return this.grid.pointOf(index);
  }

  // --- moves
  moveTo(point) {
    this.cursor = point;
    this.handlers.onMove(this);
    this.draw();
  }

  step(by) {
    this.moveTo(this.withIndex(this.slice() + by));
  }

  nudge(right, down, mm) {
    const [u, v] = this.flat(this.grid.indexOf(this.cursor));
    const index = this.unflat(u + right * mm, v + down * mm);
    this.moveTo(this.grid.pointOf(index.map((i, a) => Math.min(Math.max(i, 0), this.grid.shape[a] - 1))));
  }

  // Shows a point, and moves the picture there where it would be out of sight.
  reveal(point) {
    this.cursor = point;
    const [x, y] = this.toScreen(this.flat(this.grid.indexOf(point)));
    const margin = 40;
    const inside =
      x > margin && y > margin && x < this.box.clientWidth - margin && y < this.box.clientHeight - margin;
    if (!inside) this.center = this.flat(this.grid.indexOf(point));
    this.draw();
  }

  setView(view) {
    if (view.plane && view.plane !== this.view.plane) this.center = null;
    Object.assign(this.view, view);
    if (this.grid) this.draw();
  }

  setZoom(zoom) {
    if (!this.grid) return;
    this.center = zoom > 1 ? this.flat(this.grid.indexOf(this.cursor)) : null;
    this.zoom = zoom;
    this.draw();
  }

  setNodules(columns) {
    this.columns = columns;
    if (!this.grid) return;
    this.index = columns.id.map((_, row) =>
      this.grid.indexOf([columns.x_mm[row], columns.y_mm[row], columns.z_mm[row]]),
    );
    this.draw();
  }

  click(event) {
    const box = this.box.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const hit = this.view.marks ? this.findMark(x, y) : -1;
    if (hit >= 0) {
      this.handlers.onSelect(this, hit);
      return;
    }
    const index = this.unflat(...this.fromScreen(x, y));
    this.moveTo(this.grid.pointOf(index.map((i, a) => Math.min(Math.max(i, 0), this.grid.shape[a] - 1))));
  }

  findMark(x, y) {
    let best = -1;
    let nearest = HIT_PX;
    for (const row of this.rowsInSlab()) {
      const [px, py] = this.toScreen(this.flat(this.index[row]));
      const distance = Math.hypot(px - x, py - y);
      if (distance < nearest) [best, nearest] = [row, distance];
    }
    return best;
  }

  // Rows of the nodules that the slab on the screen holds.
  rowsInSlab() {
    const rows = [];
    if (!this.index) return rows;
    const axis = this.axis();
    const slice = this.slice();
    const half = (this.nSlices() * this.grid.spacing[axis]) / 2;
    for (let row = 0; row < this.index.length; row++) {
      const depth = Math.abs(this.index[row][axis] - slice) * this.grid.spacing[axis];
      if (depth <= half + (this.columns.diameter_mm[row] ?? 0) / 2) rows.push(row);
    }
    return rows;
  }

  // --- drawing
  draw() {
    if (!this.grid || this.queued) return;
    this.queued = true;
    this.box.setAttribute("aria-busy", "true");
    requestAnimationFrame(() => {
      this.queued = false;
      this.paint();
    });
  }

  paint() {
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [this.box.clientWidth, this.box.clientHeight];
    if (!w || !h) return;
    if (this.canvas.width !== Math.round(w * ratio) || this.canvas.height !== Math.round(h * ratio)) {
      this.canvas.width = Math.round(w * ratio);
      this.canvas.height = Math.round(h * ratio);
    }
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, w, h);
    const byCard = this.graphics?.isReady ?? false;
    this.glCanvas.hidden = !byCard;
    if (byCard) this.paintByCard(w, h, ratio);
    else this.paintByServer(context);
    const isWhole = byCard || this.bitmapKey === this.key(this.slice());
    if (isWhole) this.box.setAttribute("aria-busy", "false");
    this.paintSides(context, w, h);
    this.paintMarks(context);
    this.tell();
  }

  paintByCard(w, h, ratio) {
    const [u0, v0] = this.fromScreen(0, 0);
    this.graphics.draw({
      width: w,
      height: h,
      ratio,
      plane: this.view.plane,
      shape: this.grid.shape,
      spacing: this.grid.spacing,
      corner: [u0, v0],
      mmPerPixel: 1 / this.scale(),
      slice: this.slice(),
      nSlices: this.nSlices(),
      low: this.view.low,
      high: this.view.high,
    });
  }

  paintByServer(context) {
    const slice = this.slice();
    const key = this.key(slice);
    if (this.slices.has(key)) {
      this.bitmap = this.slices.get(key);
      this.bitmapKey = key;
    } else {
      this.fetchSlice(slice);
    }
    if (!this.bitmap) return;
    const [u, v] = this.sizeMm();
    const { spacing } = this.grid;
    const half = { axial: [2, 1], coronal: [2, 0], sagittal: [1, 0] }[this.view.plane].map((a) => spacing[a] / 2);
    const [x, y] = this.toScreen([-half[0], -half[1]]);
    context.imageSmoothingQuality = "high";
    context.drawImage(this.bitmap, x, y, u * this.scale(), v * this.scale());
    if (this.bitmapKey === key) {
      this.handlers.onPicture(this);
      for (const near of [slice + 1, slice - 1]) {
        if (near >= 0 && near < this.grid.shape[this.axis()]) this.fetchSlice(near);
      }
    }
  }

  key(slice) {
    return [this.view.plane, slice, this.view.slab, this.view.low, this.view.high].join(" ");
  }

  async fetchSlice(slice) {
    const key = this.key(slice);
    this.wanted ??= new Set();
    if (this.slices.has(key) || this.wanted.has(key) || this.wanted.size > 6) return;
    this.wanted.add(key);
    const query = new URLSearchParams({
      scan: this.scan.label,
      plane: this.view.plane,
      index: slice,
      slab: this.view.slab,
      low: this.view.low,
      high: this.view.high,
    });
    try {
      const answer = await fetch(`slice?${query}`);
      if (!answer.ok) throw new Error(`the server says ${answer.status}`);
      this.slices.set(key, await createImageBitmap(await answer.blob()));
      // The oldest goes; a Map keeps the order in which it was filled.
      if (this.slices.size > KEPT_SLICES) this.slices.delete(this.slices.keys().next().value);
    } catch (error) {
      this.handlers.onTrouble(`The picture could not be fetched: ${error.message}.`);
    } finally {
      this.wanted.delete(key);
    }
    // The view may have moved on while this one was on its way.
    this.draw();
  }

  // Which way the patient lies: the canonical array's axes, right to left, front to back, feet to head.
  paintSides(context, w, h) {
    const names = { axial: ["R", "L", "A", "P"], coronal: ["R", "L", "H", "F"], sagittal: ["A", "P", "H", "F"] };
    const [left, right, top, bottom] = names[this.view.plane];
    context.fillStyle = "#eceff1";
    context.font = "600 14px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.shadowColor = "#000";
    context.shadowBlur = 3;
    context.fillText(left, 12, h / 2);
    context.fillText(right, w - 12, h / 2);
    context.fillText(top, w / 2, 12);
    context.fillText(bottom, w / 2, h - 12);
    context.shadowBlur = 0;
  }

  paintMarks(context) {
    const [x, y] = this.toScreen(this.flat(this.grid.indexOf(this.cursor)));
    context.lineWidth = 1;
    context.strokeStyle = "rgba(255, 255, 255, 0.75)";
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(x + 5 * dx, y + 5 * dy);
      context.lineTo(x + 13 * dx, y + 13 * dy);
    }
    context.stroke();
    if (!this.view.marks) return;
    const s = this.scale();
    for (const row of this.rowsInSlab()) {
      const radius = Math.max(6, ((this.columns.diameter_mm[row] ?? 0) / 2) * s + 4);
      const [px, py] = this.toScreen(this.flat(this.index[row]));
      paintMark(context, px, py, radius, this.handlers.markOf(this, row));
    }
    for (const added of this.handlers.addedOf(this)) {
      const index = this.grid.indexOf(added.position);
      if (this.inSlab(index)) paintMark(context, ...this.toScreen(this.flat(index)), 9, { kind: "added" });
    }
    for (const lesion of this.handlers.lesionsOf(this)) this.paintLesion(context, lesion);
  }

  inSlab(index) {
    const axis = this.axis();
    return (
      Math.abs(index[axis] - this.slice()) * this.grid.spacing[axis] <=
      (this.nSlices() * this.grid.spacing[axis]) / 2 + 1
    );
  }

  paintLesion(context, lesion) {
    const ends = lesion.ends.map((end) => this.grid.indexOf(end));
    const axis = this.axis();
    const places = ends.map((end) => end[axis]);
    const reach = this.nSlices() / 2 + 1;
    const slice = this.slice();
    if (slice < Math.min(...places) - reach || slice > Math.max(...places) + reach) return;
    const [a, b] = ends.map((end) => this.toScreen(this.flat(end)));
    context.strokeStyle = lesion.selected ? "#ffffff" : "#f0a3d0";
    context.lineWidth = 2;
    context.setLineDash(lesion.corrected ? [6, 3] : []);
    context.beginPath();
    context.moveTo(...a);
    context.lineTo(...b);
    context.stroke();
    context.setLineDash([]);
    for (const [x, y] of [a, b]) context.strokeRect(x - 3, y - 3, 6, 6);
  }

  tell() {
    const slice = this.slice();
    this.slider.max = this.grid.shape[this.axis()] - 1;
    this.slider.value = slice;
    const [x, y, z] = this.cursor.map((value) => value.toFixed(1));
    this.slider.setAttribute("aria-valuetext", `slice ${slice + 1} of ${this.grid.shape[this.axis()]}`);
    this.placeText.textContent = `slice ${slice + 1}/${this.grid.shape[this.axis()]} · ${x}, ${y}, ${z} mm`;
  }
}

// Shape and line tell the kinds apart as well as color does.
function paintMark(context, x, y, radius, { kind, selected }) {
  const colors = {
    ...{ nodule: "#ffb000", calcified: "#9ad0ff", rejected: "#c3cbd0", added: "#56b4e9" },
    ...{ kept: "#f0e442", shrunk: "#56b4e9", grown: "#ff8c42", no_longer_seen: "#ff9ad5", new: "#e69f00" },
  };
  context.strokeStyle = selected ? "#ffffff" : colors[kind];
  context.lineWidth = selected ? 3 : 1.5;
  context.setLineDash(kind === "rejected" ? [3, 3] : []);
  context.beginPath();
  const triangles = { shrunk: 1, grown: -1 };
  if (kind in triangles) {
    const tip = 1.3 * radius * triangles[kind];
    const base = -0.7 * radius * triangles[kind];
    context.moveTo(x, y + tip);
    context.lineTo(x - 1.15 * radius, y + base);
    context.lineTo(x + 1.15 * radius, y + base);
    context.closePath();
  } else if (kind === "added" || kind === "new") {
    context.moveTo(x, y - radius);
    context.lineTo(x + radius, y);
    context.lineTo(x, y + radius);
    context.lineTo(x - radius, y);
    context.closePath();
  } else if (kind === "calcified" || kind === "no_longer_seen") {
    context.rect(x - radius, y - radius, 2 * radius, 2 * radius);
  } else {
    context.arc(x, y, radius, 0, 2 * Math.PI);
  }
  if (kind === "new") context.rect(x - 0.5, y - 0.5, 1, 1);
  context.stroke();
  context.setLineDash([]);
  if (kind === "rejected") {
    context.beginPath();
    context.moveTo(x - radius, y + radius);
    context.lineTo(x + radius, y - radius);
    context.stroke();
  }
}
