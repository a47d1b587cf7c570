// What the page knows: the server's setting, what it shows, and what was entered but not saved.
const $ = (id) => document.getElementById(id);
const LANGUAGE_NAMES = { en: "English", zh: "中文" };
const store = window.localStorage;
let setting = null;
let view = null;
let entered = { scores: {}, reason: "" };
let active = 0;
let busy = false;
let summary = null;
let shownStatus = null;

const chosen = store.getItem("interface");
let language = chosen || (navigator.language.startsWith("zh") ? "zh" : "en");
let annotator = store.getItem("annotator") || "";
let languages = JSON.parse(store.getItem("languages") || "null");

const text = (key, ...values) => {
  const found = TEXTS[language][key];
  return typeof found === "function" ? found(...values) : found;
};

// Every text goes through textContent: an answer's HTML is shown, never read as HTML.
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "text") made.textContent = value;
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function say(key, { wrong = false, literal = "" } = {}) {
  shownStatus = literal ? null : key;
  $("status").textContent = literal || (key ? text(key) : "");
  $("status").classList.toggle("wrong", wrong);
}

// ------------------------------------------------------------------------------------- requests

async function request(path, body) {
  let response;
  try {
    response = await fetch(path, body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    });
  } catch {
    say("lost", { wrong: true });
    return null;
  }
  const type = response.headers.get("Content-Type") || "";
  const found = type.startsWith("application/json") ? await response.json() : await response.text();
  if (!response.ok) {
    say("", { wrong: true, literal: found.error || String(found) });
    return null;
  }
  return found;
}

async function act(name, body, done) {
  if (busy) return;
  busy = true;
  const found = await request(`/api/${name}`, { annotator, languages, ...body });
  busy = false;
  if (!found) return;
  if (done) store.removeItem(draftKey());
  say(done || "");
  show(found);
}

// --------------------------------------------------------------------------------------- drafts

const draftKey = () => `draft/${annotator}/${view && view.unit ? view.unit.code : ""}`;
const keep = () => store.setItem(draftKey(), JSON.stringify(entered));

function restore() {
  const draft = JSON.parse(store.getItem(draftKey()) || "null");
  const decision = view.unit.decision;
  entered = draft || { scores: decision ? decision.scores : {}, reason: decision ? decision.reason : "" };
}

// --------------------------------------------------------------------------------------- review

function show(found) {
  view = found;
  active = 0;
  $("progress").hidden = false;
  $("bar").style.width = `${(100 * (view.scored + view.skipped)) / Math.max(1, view.total)}%`;
  if (view.unit) restore();
  render();
  window.scrollTo(0, 0);
  $("heading").focus({ preventScroll: true });
}

function render() {
  $("count").textContent = text("count", view);
  $("back").disabled = view.position === 0;
  $("forward").disabled = !view.can_go_forward;
  $("undo").disabled = view.undoable === null;
  const unit = view.unit;
  const parts = ["conversation", "rubric-box", "reference-box", "charter-box", "answers", "reason"];
  for (const id of parts) $(id).hidden = !unit;
  document.querySelector("label[for=reason]").hidden = !unit;
  $("save").disabled = $("skip").disabled = !unit;
  $("heading").textContent = text(unit ? "number" : "done_title", view);
  $("already").textContent = !unit || !unit.decision ? ""
    : `· ${text(Object.keys(unit.decision.scores).length ? "was_scored" : "was_skipped")}`;
  $("domain").textContent = !unit ? ""
    : (setting.domains[unit.domain] || {})[language] || unit.domain;
  $("keys").hidden = !unit;
  if (!unit) {
    $("conversation").hidden = false;
    $("conversation").replaceChildren(element("p", { text: text("done_text") }));
    return;
  }
  $("conversation").replaceChildren(...unit.conversation.map(message));
  fill("rubric", unit.rubric, unit.lang);
  fill("reference", unit.reference, unit.lang);
  fill("charter", setting.charter[language] || Object.values(setting.charter)[0], language);
  $("answers").replaceChildren(...unit.answers.map(answerBox));
  $("reason").value = entered.reason;
  const keys = [...(unit.answers.length > 1 ? text("key_pair") : []), ...text("key_list")];
  $("key-list").replaceChildren(...keys.flatMap(([key, does]) =>
    [element("dt", {}, element("kbd", { text: key })), element("dd", { text: does })]));
}

function fill(id, value, lang) {
  $(`${id}-box`).hidden = !value;
  $(id).textContent = value || "";
  $(id).lang = lang;
}

function message(said, index, all) {
  const only = all.length === 1;
  const box = element("div", { class: only ? "message question" : "message" });
  if (!only) box.append(element("span", { class: "by", text: text("role")[said.role] || said.role }));
  box.append(element("div", { class: "text", lang: view.unit.lang, text: said.content }));
  return box;
}

function answerBox(answer, index, all) {
  const several = all.length > 1;
  const title = several ? text("answer_of", index + 1) : text("answer");
  const given = entered.scores[answer.code];
  const box = element("section", {
    class: several && index === active ? "answer active" : "answer",
    "data-code": answer.code, "aria-label": title,
  });
  const axes = element("details", { class: "axes" },
    element("summary", { text: text("axes") }, " ", element("kbd", { text: "X" })),
    ...setting.axes.map((axis) => element("div", { class: "axis" },
      element("span", { class: "name", text: text(axis) }),
      scale(`${title}: ${text(axis)}`, given && given.axes[axis], (value) => setAxis(answer.code, axis, value)))));
  axes.open = openAxes.has(index);
  axes.addEventListener("toggle", () => openAxes[axes.open ? "add" : "delete"](index));
  box.append(
    element("h2", { text: title }),
    element("div", { class: "text", lang: view.unit.lang, text: answer.text || text("empty") }),
    scale(title, given && given.score, (value) => setScore(index, value)),
    element("div", { class: "ends" },
      element("span", { text: text("worst") }), element("span", { text: text("best") })),
    axes);
  box.addEventListener("focusin", () => activate(index));
  box.addEventListener("click", () => activate(index));
  return box;
}

const openAxes = new Set();

function scale(label, value, choose) {
  const row = element("div", { class: "scale", role: "radiogroup", "aria-label": label });
  for (let n = 0; n <= 5; n++) {
    row.append(element("button", {
      type: "button", role: "radio", "aria-checked": String(value === n), text: String(n),
      onclick: () => choose(n),
    }));
  }
  return row;
}

function mark(row, value) {
  [...row.children].forEach((button, n) => button.setAttribute("aria-checked", String(n === value)));
}

function boxOf(index) {
  return $("answers").children[index];
}

function activate(index) {
  active = index;
  const several = view.unit.answers.length > 1;
  [...$("answers").children].forEach((box, n) => box.classList.toggle("active", several && n === index));
}

function setScore(index, value) {
  const code = view.unit.answers[index].code;
  entered.scores[code] = { axes: {}, ...entered.scores[code], score: value };
  mark(boxOf(index).querySelector(":scope > .scale"), value);
  keep();
  say("");
}

function setAxis(code, axis, value) {
  const index = view.unit.answers.findIndex((answer) => answer.code === code);
  const given = entered.scores[code] || { axes: {} };
  const axes = { ...given.axes, [axis]: value };
  if (given.axes[axis] === value) delete axes[axis]; // the same again takes it back
  entered.scores[code] = { ...given, axes };
  mark(boxOf(index).querySelectorAll(".axis .scale")[setting.axes.indexOf(axis)], axes[axis]);
  keep();
}

function save() {
  if (!view.unit) return;
  const scores = view.unit.answers.map(({ code }) => ({ code, ...entered.scores[code] }));
  const missing = scores.findIndex((each) => each.score === undefined);
  if (missing >= 0) {
    activate(missing);
    say(scores.length > 1 ? "missing_second" : "missing", { wrong: true });
    return;
  }
  act("score", { unit: view.unit.code, scores, reason: entered.reason }, "saved");
}

function skip() {
  if (view.unit) act("skip", { unit: view.unit.code, reason: entered.reason }, "passed_over");
}

function undo() {
  if (view.undoable !== null) act("undo", { event: view.undoable }, "undone");
}

const move = (direction) => act("move", { direction });

function onKey(event) {
  if (event.isComposing || $("review").hidden || !view) return;
  const typing = event.target === $("reason");
  if (typing && event.key === "Escape") {
    $("heading").focus();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey || !typing)) {
    // Enter on a control that is focused does what the control does; a score is chosen already.
    const control = event.target.closest("button:not([role=radio]), summary, a");
    if (!typing && control && !event.ctrlKey) return;
    save();
  } else if (typing || event.ctrlKey || event.metaKey || event.altKey) {
    return;
  } else if (view.unit && /^[0-5]$/.test(event.key) && event.target.closest(".axis")) {
    event.target.closest(".axis").querySelectorAll("button")[Number(event.key)].click();
    const next = event.target.closest(".axis").nextElementSibling;
    if (next) next.querySelector("button").focus();
  } else if (view.unit && /^[0-5]$/.test(event.key)) {
    setScore(active, Number(event.key));
    const next = view.unit.answers.findIndex(({ code }) =>
      !entered.scores[code] || entered.scores[code].score === undefined);
    if (next >= 0) activate(next);
    $("heading").focus({ preventScroll: true });
  } else {
    const does = {
      s: skip, u: undo, ArrowLeft: () => move("back"), ArrowRight: () => move("forward"),
      r: () => $("reason").focus(), x: toggleAxes, a: () => choose(0), b: () => choose(1),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!does) return;
    does();
  }
  event.preventDefault();
}

function choose(index) {
  if (view.unit && index < view.unit.answers.length) {
    activate(index);
    boxOf(index).scrollIntoView({ block: "nearest" });
  }
}

// Into the axes, which may be open since the last question, or out of them.
function toggleAxes() {
  if (!view.unit) return;
  const axes = boxOf(active).querySelector(".axes");
  const leaving = axes.contains(document.activeElement);
  axes.open = !leaving;
  if (leaving) $("heading").focus({ preventScroll: true });
  else axes.querySelector("button").focus();
}

// ------------------------------------------------------------------------------------ agreement

const shown = (number, digits = 2) => (number === null || number === undefined ? "–" : number.toFixed(digits).replace("-", "−"));

function interval(found) {
  if (!found || found.value === null) return text("undefined");
  return `${shown(found.value)} [${shown(found.low)}, ${shown(found.high)}]`;
}

function table(title, head, rows) {
  const cell = (value, column) => element("td", { text: value, "data-label": head[column] });
  const body = rows.map((row) => element("tr", {}, ...row.map(cell)));
  // On a phone a wide table's rows are lists, whose labels are the heads of the columns.
  return [element("h2", { text: title }), element("div", { class: "scroll", tabindex: "0" },
    element("table", { class: head.length > 5 ? "wide" : "" },
      element("thead", {}, element("tr", {}, ...head.map((name) => element("th", { text: name })))),
      element("tbody", {}, ...body)))];
}

function agreementTables(found, kind) {
  const ordered = kind === "scores";
  const measures = [text("kappa"), ...(ordered ? [text("kappa_quadratic")] : [])];
  const ends = ordered ? [text("mean_absolute_difference")] : [];
  return [
    ...table(text(`all_${kind}`), [text("measure"), text("value"), text("n")],
      [[text("alpha"), interval(found.alpha), String(found.n)]]),
    ...table(text(`pairs_${kind}`), [text("two"), text("n"), text("same"), ...measures, ...ends],
      found.pairs.map((pair) => [
        pair.annotators.join(" – "), String(pair.n), shown(pair.same), interval(pair.kappa),
        ...(ordered ? [interval(pair.kappa_quadratic), shown(pair.mean_absolute_difference)] : []),
      ])),
  ];
}

function renderAgreement() {
  $("agreement-intro").textContent = text("agreement_intro", summary);
  const people = Object.entries(summary.annotators).map(([name, had]) =>
    [name, String(had.scored), String(had.skipped), String(had.left), shown(had.mean)]);
  const blocks = table(text("annotators"),
    [text("name"), text("scored"), text("skipped"), text("left"), text("mean")], people);
  const kinds = Object.entries(summary.agreement).filter(([, found]) => found.n);
  for (const [kind, found] of kinds) blocks.push(...agreementTables(found, kind));
  if (!kinds.length) blocks.push(element("p", { text: text("nothing") }));
  $("tables").replaceChildren(...blocks);
}

// ---------------------------------------------------------------------------------------- start

function translate() {
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-text]")) {
    if (typeof text(each.dataset.text) === "string") each.textContent = text(each.dataset.text);
  }
  $("name").title = text("rename");
  if (shownStatus !== null) $("status").textContent = shownStatus ? text(shownStatus) : "";
  if (view) render();
  if (summary) renderAgreement();
}

function open(id) {
  for (const each of ["start", "review", "agreement"]) $(each).hidden = each !== id;
  $(id === "agreement" ? "to-agreement" : "to-review").setAttribute("aria-current", "page");
  $("name").textContent = id === "start" ? "" : annotator;
  $("name").disabled = id !== "review" || Boolean(setting.annotator);
}

function openStart() {
  view = null;
  $("progress").hidden = true;
  $("known").replaceChildren(...setting.annotators.map((name) => element("option", { value: name })));
  $("annotator").value = annotator;
  $("languages").hidden = setting.languages.length < 2;
  const wanted = languages || setting.languages;
  $("languages").replaceChildren($("languages").firstElementChild, ...setting.languages.map((each) => {
    const box = element("input", { type: "checkbox", value: each, id: `language-${each}` });
    box.checked = wanted.includes(each);
    return element("label", { for: box.id }, box, ` ${LANGUAGE_NAMES[each] || each}`);
  }));
  open("start");
  $("annotator").focus();
}

async function begin(event) {
  event.preventDefault();
  const boxes = [...$("languages").querySelectorAll("input")];
  languages = boxes.filter((box) => box.checked).map((box) => box.value);
  if (!languages.length) {
    say("needs_language", { wrong: true });
    return;
  }
  annotator = $("annotator").value.trim();
  await openReview();
}

async function openReview() {
  const found = await request("/api/view", { annotator, languages });
  if (!found) return openStart();
  store.setItem("annotator", annotator);
  store.setItem("languages", JSON.stringify(languages));
  say("");
  open("review");
  show(found);
}

async function load() {
  translate();
  setting = await request("/api/setting");
  if (!setting) return;
  languages = (languages || setting.languages).filter((each) => setting.languages.includes(each));
  if (!languages.length) languages = setting.languages;
  if (window.location.pathname === "/agreement") {
    open("agreement");
    say("computing");
    summary = await request("/api/agreement");
    if (summary) {
      say("");
      renderAgreement();
    }
    return;
  }
  annotator = setting.annotator || annotator;
  await (annotator ? openReview() : openStart());
}

$("start-form").addEventListener("submit", begin);
$("name").addEventListener("click", openStart);
$("interface").addEventListener("click", () => {
  language = language === "zh" ? "en" : "zh";
  store.setItem("interface", language);
  translate();
});
$("reason").addEventListener("input", () => {
  entered.reason = $("reason").value;
  keep();
});
for (const [id, does] of Object.entries({ save, skip, undo })) $(id).addEventListener("click", does);
$("back").addEventListener("click", () => move("back"));
$("forward").addEventListener("click", () => move("forward"));
document.addEventListener("keydown", onKey);
load();
