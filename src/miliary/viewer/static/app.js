// The viewer's page: what is shown, what was picked, what the reader changed.

import { NoduleList, fateWords, filterNodules } from "./list.js";
import { Pane } from "./pane.js";

const byId = (id) => document.getElementById(id);
const PLANES = ["axial", "coronal", "sagittal"];
const SLABS = ["0", "5", "10", "20"];

const state = {
  study: null,
  panes: [],
  active: null,
  // Changes that were not saved yet, then those that were and hold.
  drafts: [],
  saved: [],
  pending: [],
  selected: null,
  lesion: null,
  ends: {},
  withWebgl: null,
};

async function getJson(address, options) {
  const answer = await fetch(address, options);
  const content = await answer.json();
  if (!answer.ok) throw new Error(content.error ?? `the server says ${answer.status}`);
  return content;
}

async function start() {
  state.study = await getJson("study");
  byId("reader").value = state.study.reader;
  showNotes();
  makeChoice();
  showPanes(state.study.scans.slice(0, 2).map((scan) => new Pane(scan, handlers)));
  if (state.panes.every((pane) => !pane.grid)) {
    byId("waiting").remove();
    ready("empty");
  }
  await Promise.all(state.panes.map(loadNodules));
  await loadCorrections();
  placeSecond();
  document.documentElement.dataset.list = "ready";
  const panes = state.panes.filter((pane) => pane.grid);
  if (!panes.length) return;
  await firstPicture;
  await onScreen();
  await frameLungs(panes);
  document.documentElement.dataset.frame = "ready";
  if (state.study.has_webgl) await startWebgl(panes);
}

async function frameLungs(panes) {
  for (const pane of panes) pane.setLungs(await getJson(`box?${new URLSearchParams({ scan: pane.scan.label })}`));
}

// --- which two of several scans

function makeChoice() {
  const { scans } = state.study;
  for (const box of document.querySelectorAll(".which")) box.hidden = scans.length < 3;
  for (const id of ["left", "right"]) {
    const options = scans.map((scan) => {
      const option = withText("option", scan.role ? `${scan.label} (${scan.role})` : scan.label);
      option.value = scan.label;
      return option;
    });
    byId(id).replaceChildren(...options);
    byId(id).addEventListener("change", () => choose(id));
  }
}

function showPanes(panes) {
  state.panes = panes;
  byId("panes").replaceChildren(...panes.map((pane) => pane.element), ...[byId("waiting")].filter(Boolean));
  byId("linked-box").hidden = !panes[1] || !linkOf(panes[0], panes[1]);
  ["left", "right"].forEach((id, i) => {
    if (panes[i]) byId(id).value = panes[i].scan.label;
  });
  makeTabs();
  applyView();
  state.active = null;
  setActive(panes[0]);
}

// The scan that is on the other side already changes sides; another one comes in fresh.
async function choose(id) {
  const place = id === "left" ? 0 : 1;
  const label = byId(id).value;
  if (state.panes[place].scan.label === label) return;
  const other = state.panes[1 - place];
  if (other.scan.label === label) {
    showPanes(state.panes.toReversed());
    placeSecond();
    return;
  }
  const gone = state.panes[place];
  gone.graphics = null;
  gone.card?.dispose();
  gone.card = null;
  const pane = new Pane(state.study.scans.find((scan) => scan.label === label), handlers);
  pane.zoom = other.zoom;
  showPanes(place === 0 ? [pane, other] : [other, pane]);
  try {
    await loadNodules(pane);
    showChanges();
    follow(other);
    if (!pane.grid) return;
    await frameLungs([pane]);
    if (state.withWebgl && !byId("webgl-box").hidden) await loadCards([pane]);
  } catch (error) {
    complain(error);
  }
}

let seen;
const firstPicture = new Promise((done) => {
  seen = done;
});

// Two frames later what was drawn is on the screen.
function onScreen() {
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}

function ready(stage) {
  if (stage === "slices" && document.documentElement.dataset.ready) return;
  document.documentElement.dataset.ready = stage;
  performance.mark(`miliary-${stage}`);
}

function say(text) {
  byId("status").textContent = text;
}

function complain(error) {
  byId("message").textContent = error.message ?? String(error);
}

function showNotes() {
  const { study } = state;
  const several = study.scans.length > 1;
  const notes = [...study.problems];
  for (const scan of study.scans) {
    notes.push(...scan.problems.map((text) => (several ? `${scan.label}: ${text}` : text)));
  }
  const simulated = study.scans.filter((scan) => scan.origin === "simulated").map((scan) => scan.label);
  if (simulated.length) notes.push(`${several ? `${simulated.join(", ")}: ` : ""}SIMULATED, not a patient.`);
  if (study.scans.length > 2) notes.push(`${study.scans.length} scans: choose above which two stand side by side.`);
  if (study.scans.length > 1 && !study.links.length) {
    notes.push("The scans are not linked: run 'miliary compare' to register them.");
  }
  if (!study.has_webgl) notes.push("Pictures are drawn by the server: the part for the graphics card was not built.");
  byId("notes").replaceChildren(...notes.map((text) => withText("li", text)));
}

function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}

// --- scans side by side

function linkOf(a, b) {
  return state.study.links.some(
    (link) => (link.from === a.scan.label && link.to === b.scan.label) || (link.from === b.scan.label && link.to === a.scan.label),
  );
}

function otherOf(pane) {
  return state.panes.find((other) => other !== pane) ?? null;
}

let asked = 0;
let answered = 0;

// The same place of the patient in the other scan; an answer overtaken by a later one is dropped.
async function follow(pane) {
  const other = otherOf(pane);
  if (!other?.grid || !byId("linked").checked || !linkOf(pane, other)) return;
  const number = ++asked;
  other.box.setAttribute("aria-busy", "true");
  const [x, y, z] = pane.cursor;
  const query = new URLSearchParams({ from: pane.scan.label, to: other.scan.label, x, y, z });
  try {
    const { point } = await getJson(`map?${query}`);
    if (number < answered) return;
    answered = number;
    if (point) other.reveal(point);
    else other.draw();
  } catch (error) {
    complain(error);
  }
}

function placeSecond() {
  if (state.panes[0]?.grid) follow(state.panes[0]);
}

function makeTabs() {
  const tabs = state.panes.map((pane) => {
    const tab = withText("button", pane.scan.label);
    tab.type = "button";
    tab.addEventListener("click", () => setActive(pane));
    return tab;
  });
  byId("tabs").replaceChildren(...tabs);
  byId("tabs").hidden = state.panes.length < 2;
}

function setActive(pane) {
  if (state.active === pane) return;
  state.active = pane;
  state.panes.forEach((other, i) => {
    other.element.classList.toggle("active", other === pane);
    byId("tabs").children[i].setAttribute("aria-pressed", other === pane);
  });
  state.selected = null;
  state.lesion = null;
  state.ends = {};
  say("");
  showList();
  showLesions();
  showButtons();
  state.panes.forEach((other) => other.draw());
}

// --- the list

const list = new NoduleList(byId("list"), {
  onPick: (row) => pick(state.active, row),
  isRejected: (id) => rejectionOf(state.active, id) !== undefined,
});

async function loadNodules(pane) {
  const columns = await getJson(`nodules?${new URLSearchParams({ scan: pane.scan.label })}`);
  pane.setNodules(columns);
  showFates();
  if (pane === state.active) showList();
}

// What became of nodules is offered only where a comparison tells it.
function showFates() {
  const known = state.panes.some((pane) => pane.columns?.fate.some(Boolean));
  byId("fate-box").hidden = byId("by-fate-box").hidden = !known;
  if (!known) byId("fate").value = "";
}

function showList() {
  const columns = state.active?.columns;
  if (!columns) {
    list.show({ id: [] }, [], null);
    byId("count").textContent = "";
    return;
  }
  const start = performance.now();
  const rows = filterNodules(columns, {
    text: byId("find").value,
    kind: byId("class").value,
    fate: byId("fate").value,
    smallest: Number(byId("smallest").value) || 0,
    order: byId("order").value,
  });
  list.show(columns, rows, state.selected);
  document.documentElement.dataset.filterMs = (performance.now() - start).toFixed(1);
  const all = columns.id.length;
  byId("count").textContent =
    rows.length === all ? `${all.toLocaleString("en")} nodules` : `${rows.length.toLocaleString("en")} of ${all.toLocaleString("en")} nodules`;
}

function pick(pane, row) {
  const c = pane.columns;
  state.selected = c.id[row];
  state.lesion = null;
  const place = [c.x_mm[row], c.y_mm[row], c.z_mm[row]];
  if (pane.grid) {
    pane.reveal(place);
    follow(pane);
  }
  list.select(state.selected);
  showLesions();
  showButtons();
  const diameter = c.diameter_mm[row] == null ? "size not measured" : `${c.diameter_mm[row].toFixed(2)} mm`;
  const flags = c.flags[row] ? `, ${c.flags[row].replaceAll(";", ", ").replaceAll("_", " ")}` : "";
  say(`Nodule ${c.id[row]}: ${diameter}, ${c.attenuation[row]}, ${c.side[row]} ${c.zone[row]}${flags}${c.fate[row] ? `, ${fateWords(c.fate[row])}` : ""}${pairText(pane, c.id[row])}`);
}

function pairText(pane, id) {
  for (const { from, to, ids } of state.study.pairs) {
    if (pane.scan.label === from) {
      const pair = ids.find(([a]) => a === id);
      if (pair) return `; number ${pair[1]} in ${to}`;
    }
    if (pane.scan.label === to) {
      const pair = ids.find(([, b]) => b === id);
      if (pair) return `; number ${pair[0]} in ${from}`;
    }
  }
  return "";
}

// --- lesions

function endsOf(pane, lesion) {
  const change = changesOf(pane).findLast((c) => c.kind === "set_lesion_ends" && c.lesion_id === lesion.id);
  return change ? { ends: change.ends_lps_mm, corrected: true } : { ends: lesion.long_axis_ends_lps_mm, corrected: false };
}

function showLesions() {
  const lesions = state.active?.scan.lesions ?? [];
  byId("lesion-box").hidden = !lesions.length;
  byId("lesions").replaceChildren(
    ...lesions.map((lesion) => {
      const { ends, corrected } = endsOf(state.active, lesion);
      const length = ends ? Math.hypot(...ends[0].map((value, i) => value - ends[1][i])) : lesion.long_axis_mm;
      const button = withText("button", `Lesion ${lesion.id}: ${length.toFixed(1)} mm${corrected ? ", corrected" : ""}`);
      button.type = "button";
      button.setAttribute("aria-pressed", state.lesion === lesion.id);
      button.addEventListener("click", () => pickLesion(lesion));
      return button;
    }),
  );
}

function pickLesion(lesion) {
  state.lesion = lesion.id;
  state.selected = null;
  state.ends = {};
  list.select(null);
  const { ends } = endsOf(state.active, lesion);
  if (ends && state.active.grid) {
    state.active.reveal(ends[0].map((value, i) => (value + ends[1][i]) / 2));
    follow(state.active);
  }
  showLesions();
  showButtons();
  say(`Lesion ${lesion.id}: put the cross on one end of its longest diameter, then on the other.`);
}

function setEnd(which) {
  const pane = state.active;
  if (state.lesion === null || !pane.grid) return;
  state.ends[which] = crossOf(pane);
  const { first, second } = state.ends;
  if (!first || !second) {
    say(`The ${which} end is set; now the ${first ? "second" : "first"}.`);
    return;
  }
  state.ends = {};
  const length = Math.hypot(...first.map((value, i) => value - second[i]));
  if (length < 0.5) {
    complain("The two ends are the same point.");
    return;
  }
  state.drafts = state.drafts.filter((d) => !(d.kind === "set_lesion_ends" && d.scan === pane.scan.label && d.lesion_id === state.lesion));
  draft({ kind: "set_lesion_ends", scan: pane.scan.label, lesion_id: state.lesion, ends_lps_mm: [first, second] });
  say(`Lesion ${state.lesion}: ${length.toFixed(1)} mm between the new ends.`);
}

// --- corrections

function changesOf(pane) {
  const taken = new Set(state.drafts.filter((d) => d.kind === "withdraw").map((d) => d.withdraws));
  const held = state.saved.filter((c) => c.scan === pane?.scan.label && !taken.has(c.number));
  return [...held, ...state.drafts.filter((d) => d.scan === pane?.scan.label)];
}

function rejectionOf(pane, id) {
  return changesOf(pane).find((c) => c.kind === "reject_nodule" && c.nodule_id === id);
}

function draft(change) {
  state.drafts.push(change);
  showChanges();
}

function toggleRejected() {
  const pane = state.active;
  const id = state.selected;
  if (id === null || !pane?.columns) return;
  const earlier = rejectionOf(pane, id);
  if (earlier) {
    takeBack(earlier);
    say(`Nodule ${id} counts again.`);
    return;
  }
  const c = pane.columns;
  const row = c.id.indexOf(id);
  draft({ kind: "reject_nodule", scan: pane.scan.label, nodule_id: id, position_lps_mm: [c.x_mm[row], c.y_mm[row], c.z_mm[row]] });
  say(`Nodule ${id} is marked as false; save to keep this.`);
}

// Where the cross is [mm], to a thousandth: finer than any hand.
function crossOf(pane) {
  return pane.cursor.map((value) => Number(value.toFixed(3)));
}

function addNodule() {
  const pane = state.active;
  if (!pane?.grid) return;
  draft({ kind: "add_nodule", scan: pane.scan.label, position_lps_mm: crossOf(pane) });
  say("A nodule is put at the cross; save to keep this.");
}

function takeBack(change) {
  if (change.number) state.drafts.push({ kind: "withdraw", scan: change.scan, withdraws: change.number });
  else state.drafts = state.drafts.filter((d) => d !== change);
  showChanges();
}

async function loadCorrections() {
  try {
    const { active, pending } = await getJson("corrections");
    state.saved = active;
    state.pending = pending;
  } catch (error) {
    complain(error);
  }
  showChanges();
}

async function save(event) {
  event.preventDefault();
  byId("message").textContent = "";
  const reader = byId("reader").value.trim();
  if (!reader) {
    complain("Give your initials: each correction is saved with them.");
    byId("reader").focus();
    return;
  }
  byId("save").disabled = true;
  let n = 0;
  try {
    while (state.drafts.length) {
      const body = JSON.stringify({ ...state.drafts[0], reader });
      await getJson("corrections", { method: "POST", headers: { "Content-Type": "application/json" }, body });
      state.drafts.shift();
      n += 1;
    }
    say(`${n} ${n === 1 ? "correction" : "corrections"} saved.`);
  } catch (error) {
    complain(`${n} saved, then: ${error.message}`);
  }
  await loadCorrections();
}

function describeChange(change) {
  const where = (change.position_lps_mm ?? []).map((value) => value.toFixed(0)).join(", ");
  const texts = {
    reject_nodule: () => `nodule ${change.nodule_id} is false`,
    add_nodule: () => `nodule at ${where} mm`,
    set_lesion_ends: () => `new ends of lesion ${change.lesion_id}`,
    withdraw: () => `taken back: number ${change.withdraws}`,
  };
  const who = change.number ? ` (${change.reader})` : ", not saved";
  const scan = state.panes.length > 1 ? `${change.scan}: ` : "";
  return scan + texts[change.kind]() + who;
}

function showChanges() {
  const taken = new Set(state.drafts.filter((d) => d.kind === "withdraw").map((d) => d.withdraws));
  const shown = [...state.saved.filter((c) => !taken.has(c.number)), ...state.drafts];
  byId("changes").replaceChildren(
    ...shown.map((change) => {
      const item = withText("li", `${describeChange(change)} `);
      const back = withText("button", "take back");
      back.type = "button";
      back.setAttribute("aria-label", `Take back: ${describeChange(change)}`);
      back.addEventListener("click", () => takeBack(change));
      item.append(back);
      return item;
    }),
  );
  const n = state.pending.length;
  byId("pending").textContent = n
    ? `${n} saved ${n === 1 ? "correction is" : "corrections are"} not in the measurements yet: run 'miliary ct' with --apply-corrections.`
    : "";
  byId("save").disabled = !state.drafts.length;
  showLesions();
  showButtons();
  list.draw();
  state.panes.forEach((pane) => pane.draw());
}

function showButtons() {
  const id = state.selected;
  byId("reject").disabled = id === null;
  byId("reject").textContent = id !== null && rejectionOf(state.active, id) ? "A nodule after all" : "Not a nodule";
  byId("add").disabled = !state.active?.grid;
  byId("end1").disabled = byId("end2").disabled = state.lesion === null;
}

// --- what the pictures ask for

const handlers = {
  onActive: setActive,
  onMove: (pane) => {
    setActive(pane);
    follow(pane);
  },
  onZoom: (factor) => zoom(factor),
  onSelect: (pane, row) => {
    setActive(pane);
    pick(pane, row);
  },
  onPicture: () => {
    byId("waiting")?.remove();
    ready("slices");
    seen();
  },
  onTrouble: complain,
  markOf: (pane, row) => {
    const id = pane.columns.id[row];
    const fate = byId("by-fate").checked ? pane.columns.fate[row] : "";
    const plain = pane.columns.attenuation[row] === "calcified" ? "calcified" : "nodule";
    const kind = rejectionOf(pane, id) ? "rejected" : fate || plain;
    return { kind, selected: pane === state.active && id === state.selected };
  },
  // Those that were applied are rows of the table by now.
  addedOf: (pane) =>
    changesOf(pane)
      .filter((c) => c.kind === "add_nodule" && (!c.number || state.pending.includes(c.number)))
      .map((c) => ({ position: c.position_lps_mm })),
  lesionsOf: (pane) =>
    (pane.scan.lesions ?? [])
      .map((lesion) => ({ ...endsOf(pane, lesion), selected: pane === state.active && lesion.id === state.lesion }))
      .filter((lesion) => lesion.ends),
  onKey,
};

function onKey(pane, event) {
  setActive(pane);
  const mm = event.shiftKey ? 5 : 1;
  const cycle = (id, values) => {
    const select = byId(id);
    select.value = values[(values.indexOf(select.value) + 1) % values.length];
    applyView();
  };
  const choose = (name) => {
    byId("window").value = name;
    applyView();
  };
  const keys = {
    PageUp: () => pane.step(1),
    PageDown: () => pane.step(-1),
    ArrowLeft: () => pane.nudge(-1, 0, mm),
    ArrowRight: () => pane.nudge(1, 0, mm),
    ArrowUp: () => pane.nudge(0, -1, mm),
    ArrowDown: () => pane.nudge(0, 1, mm),
    "+": () => zoom(1.25),
    "-": () => zoom(1 / 1.25),
    0: () => fit(),
    1: () => choose("lung"),
    2: () => choose("mediastinum"),
    3: () => choose("bone"),
    p: () => cycle("plane", PLANES),
    s: () => cycle("slab", SLABS),
    m: () => byId("marks").click(),
    n: () => list.step(1),
    b: () => list.step(-1),
    x: toggleRejected,
    a: addNodule,
    e: () => setEnd("first"),
    f: () => setEnd("second"),
  };
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  act?.();
  return act !== undefined;
}

function zoom(factor) {
  state.panes.forEach((pane) => pane.setZoom(Math.min(Math.max(pane.zoom * factor, 0.4), 20)));
}

function fit() {
  state.panes.forEach((pane) => pane.setZoom(1));
}

function applyView() {
  const [center, width] = state.study.windows[byId("window").value];
  const view = {
    plane: byId("plane").value,
    slab: Number(byId("slab").value),
    low: center - width / 2,
    high: center + width / 2,
    marks: byId("marks").checked,
  };
  state.panes.forEach((pane) => pane.setView(view));
}

// --- the graphics card takes over

async function startWebgl(panes) {
  try {
    state.withWebgl = await import("./webgl.js");
  } catch {
    say("The part for the graphics card could not be loaded; pictures are drawn by the server.");
    return;
  }
  byId("webgl-box").hidden = false;
  await loadCards(panes);
}

async function loadCards(panes) {
  try {
    for (const pane of panes) pane.card = new state.withWebgl.VolumeView(pane.glCanvas);
    // Coarse first on every pane, so that both can be moved before either is fine.
    for (const step of [3, 1]) {
      for (const pane of panes) await loadVolume(pane, step);
      await onScreen();
      ready(step === 1 ? "webgl" : "webgl-coarse");
    }
  } catch (error) {
    for (const pane of state.panes) pane.graphics = null;
    byId("webgl-box").hidden = true;
    say(`The graphics card cannot be used (${error.message}); pictures are drawn by the server.`);
  }
}

async function loadVolume(pane, step) {
  // Another scan may have taken its place meanwhile.
  if (!pane.card) return;
  const query = new URLSearchParams({ scan: pane.scan.label, step });
  const box = await getJson(`box?${query}`);
  const answer = await fetch(`volume?${query}`);
  if (!answer.ok) throw new Error(`the server says ${answer.status}`);
  const voxels = new Int16Array(await answer.arrayBuffer());
  if (!pane.card) return;
  pane.card.setVolume(voxels, box);
  pane.graphics = byId("webgl").checked ? pane.card : null;
  pane.draw();
}

// --- wiring

for (const id of ["plane", "slab", "window", "marks"]) byId(id).addEventListener("change", applyView);
for (const id of ["find", "smallest"]) byId(id).addEventListener("input", showList);
byId("by-fate").addEventListener("change", () => state.panes.forEach((pane) => pane.draw()));
for (const id of ["class", "fate", "order"]) byId(id).addEventListener("change", showList);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
byId("linked").addEventListener("change", placeSecond);
byId("webgl").addEventListener("change", () => {
  for (const pane of state.panes) {
    pane.graphics = byId("webgl").checked ? (pane.card ?? null) : null;
    pane.draw();
  }
});
byId("fit").addEventListener("click", fit);
byId("help-button").addEventListener("click", () => {
  byId("help").hidden = !byId("help").hidden;
  byId("help-button").setAttribute("aria-expanded", !byId("help").hidden);
});
byId("reject").addEventListener("click", toggleRejected);
byId("add").addEventListener("click", addNodule);
byId("end1").addEventListener("click", () => setEnd("first"));
byId("end2").addEventListener("click", () => setEnd("second"));
byId("save-form").addEventListener("submit", save);
window.addEventListener("beforeunload", (event) => {
  if (state.drafts.length) event.preventDefault();
});

start().catch((error) => {
  complain(error);
  ready("failed");
});
