// The form for a case: drawn from what the server says there is, checked as it is typed, saved whole.

const byId = (id) => document.getElementById(id);
const PLACE = "_at";
const WAIT_MS = 400;
let language = "en";
let data = null;
let timer = 0;
let newest = 0;

const text = (name) => data.labels[name][language];

const choice = (word) => (language === "ja" && data.choices[word]) || word.replaceAll("_", " ");

// A value at a dotted path, where a number is a place in a list.
function readAt(value, path) {
  for (const part of path ? path.split(".") : []) {
    if (value === null || typeof value !== "object") return undefined;
    value = value[part];
  }
  return value;
}

function writeAt(root, path, value) {
  const parts = path.split(".");
  const last = parts.pop();
  let place = root;
  parts.forEach((part, n) => {
    const next = n + 1 < parts.length ? parts[n + 1] : last;
    if (place[part] === null || typeof place[part] !== "object") place[part] = /^\d+$/.test(next) ? [] : {};
    place = place[part];
  });
  if (value === "" && !Array.isArray(place)) {
    if (place[last] !== undefined) place[last] = "";
  } else place[last] = value;
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawField(field, owner, change) {
  const held = readAt(owner, field.name);
  const value = held === undefined || held === null || typeof held === "object" ? "" : String(held);
  let input;
  if (field.type === "choice") {
    input = element("select");
    const options = ["", ...field.options];
    if (value && !options.includes(value)) options.push(value);
    for (const option of options) input.append(element("option", { value: option }, option ? choice(option) : text("open")));
  } else {
    input = element("input", { type: "text" });
    if (field.type === "number") input.setAttribute("inputmode", "decimal");
    if (field.words) input.setAttribute("list", `words-${field.words}`);
  }
  input.value = value;
  input.name = field.name;
  input.addEventListener("input", () => {
    writeAt(owner, field.name, input.value.trim());
    change();
  });
  return element("label", {}, element("span", {}, field[language]), input);
}

function drawFields(section, owner, change) {
  return element("div", { class: "fields" }, ...section.fields.map((f) => drawField(f, owner, change)));
}

function drawOne(section) {
  const box = element("fieldset", { "data-path": section.path }, element("legend", {}, section[language]));
  let owner = section.path ? readAt(data.content, section.path) : data.content;
  const isHeld = owner && typeof owner === "object" && !Array.isArray(owner);
  if (!isHeld) owner = {};
  box.append(
    drawFields(section, owner, () => {
      if (section.path && !isHeld) writeAt(data.content, section.path, owner);
      check();
    }),
  );
  return box;
}

function drawMany(section) {
  const box = element("fieldset", { "data-path": section.path }, element("legend", {}, section[language]));
  const held = readAt(data.content, section.path);
  // A plain word in a list stands for the first field of an item; it is left to the file where there are others.
  const items = Array.isArray(held) ? held : [];
  const hold = () => writeAt(data.content, section.path, items);
  const add = element("button", { type: "button", class: "add" }, `${text("add")}: ${section[language]}`);
  const draw = (item, focus) => {
    const number = items.indexOf(item) + 1;
    const part = element("fieldset", { class: "item" }, element("legend", {}, `${section[language]} ${number}`));
    const remove = element("button", { type: "button", "aria-label": `${text("remove")}: ${section[language]} ${number}` }, text("remove"));
    remove.addEventListener("click", () => {
      items.splice(items.indexOf(item), 1);
      hold();
      render();
      check();
      document.querySelector(`fieldset[data-path="${section.path}"] > button.add`).focus();
    });
    part.append(drawFields(section, item, () => { hold(); check(); }), remove);
    add.before(part);
    if (focus) part.querySelector("input, select").focus();
  };
  box.append(add);
  for (const item of items) if (item && typeof item === "object") draw(item, false);
  add.addEventListener("click", () => {
    const item = {};
    items.push(item);
    hold();
    draw(item, true);
  });
  return box;
}

function drawWords(section) {
  const box = element("fieldset", { "data-path": section.path }, element("legend", {}, section[language]));
  let held = readAt(data.content, section.path);
  if (Array.isArray(held)) held = Object.fromEntries(held.filter((w) => typeof w === "string").map((w) => [w, "present"]));
  const states = held && typeof held === "object" ? { ...held } : {};
  const hold = () => { writeAt(data.content, section.path, { ...states }); check(); };
  const label = (word) => {
    const known = (data.words[section.words] || []).find(([name]) => name === word);
    return language === "ja" && known && known[1] ? known[1] : word.replaceAll("_", " ");
  };
  const fields = element("div", { class: "fields" });
  const draw = (word) => {
    const select = element("select", { name: word });
    const named = [["", text("open")], ["present", text("yes")], ["absent", text("no")]];
    if (!named.some(([state]) => state === states[word])) named.push([states[word], states[word]]);
    for (const [state, name] of named) select.append(element("option", { value: state }, name));
    select.value = states[word];
    select.addEventListener("input", () => { states[word] = select.value; hold(); });
    fields.append(element("label", {}, element("span", {}, label(word)), select));
    return select;
  };
  for (const word of Object.keys(states)) if (typeof states[word] === "string") draw(word);
  const input = element("input", { type: "text", list: `words-${section.words}`, "aria-label": `${section[language]}: ${text("word")}` });
  const add = element("button", { type: "button", class: "add" }, `${text("add")}: ${section[language]}`);
  const put = () => {
    const typed = input.value.trim();
    if (!typed) return;
    const known = (data.words[section.words] || []).find(([name, ja]) => ja === typed || name === typed.replaceAll(" ", "_"));
    const word = known ? known[0] : typed;
    input.value = "";
    if (!(word in states)) { states[word] = "present"; draw(word).focus(); hold(); }
  };
  add.addEventListener("click", put);
  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); put(); }
  });
  box.append(fields, input, add);
  return box;
}

function render() {
  const form = byId("case");
  const draw = { one: drawOne, many: drawMany, words: drawWords };
  form.replaceChildren(...data.form.map((section) => draw[section.kind](section)));
  for (const [name, words] of Object.entries(data.words)) {
    const list = element("datalist", { id: `words-${name}` });
    for (const [word, ja] of words) list.append(element("option", { value: word }, language === "ja" ? ja : ""));
    form.append(list);
  }
  document.documentElement.lang = language;
  document.title = `${text("title")} - miliary viewer`;
  byId("title").textContent = text("title");
  byId("empty").textContent = text("empty");
  byId("back").textContent = text("back");
  byId("back").hidden = !location.pathname.endsWith("/form");
  byId("save").textContent = text("save");
  byId("language").textContent = text("language");
  byId("language").lang = language === "en" ? "ja" : "en";
}

function tell(message, problems = []) {
  byId("message").textContent = message;
  byId("problems").replaceChildren(...problems.map((line) => element("li", {}, line)));
}

async function ask(name, content) {
  const answer = await fetch(name, content && {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(content),
  });
  const body = await answer.json();
  return answer.ok ? body : { error: body.error };
}

function showProblems(problems) {
  byId("save").disabled = problems.length > 0;
  tell(problems.length ? text("problems") : text("fine"), problems);
}

function check() {
  byId("save").disabled = true;
  clearTimeout(timer);
  const number = ++newest;
  timer = setTimeout(async () => {
    const found = await ask("case-check", { content: data.content });
    if (number !== newest) return; // typed on meanwhile
    showProblems(found.error ? [found.error] : found.problems);
  }, WAIT_MS);
}

byId("case").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (byId("save").disabled) return;
  byId("save").disabled = true;
  const saved = await ask("case", { content: data.content, stamp: data.stamp });
  if (saved.error) {
    tell(text("problems"), [saved.error]);
    return;
  }
  data = saved;
  render();
  tell(text("saved"));
  document.documentElement.dataset.saved = String(Number(document.documentElement.dataset.saved || 0) + 1);
});

byId("language").addEventListener("click", () => {
  language = language === "en" ? "ja" : "en";
  render();
  check();
});

const start = await ask("case");
if (start.error) {
  tell(start.error);
} else {
  data = start;
  language = (navigator.language || "en").startsWith("ja") ? "ja" : "en";
  render();
  showProblems(data.problems);
}
document.documentElement.dataset.ready = "true";
