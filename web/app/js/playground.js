// The playground: one state, drawn in parts. A text is read while it is typed, a wish in words is translated while it is
// typed, dragging on the circle replaces the words.

import * as api from "./api.js";
import {circle, table} from "./circle.js";
import {$, copy, debounce, h, store} from "./dom.js";
import {TEXTS, WISHES} from "./examples.js";
import {history} from "./history.js";
import * as result from "./result.js";
import {carry, clauses, pieces} from "./spans.js";
import {FORMS, record} from "./take.js";
import {theme} from "./theme.js";
import {ABOUT, NAMES, SILENT, signed, zero} from "./values.js";
import * as say from "./words.js";

const state = {
  text: "",
  clauses: [],
  // What the text speaks; null before it is known.
  before: null,
  // {words} or {target}; null without a wish.
  wish: null,
  // Where the wish leads from this text; null while unknown.
  target: null,
  after: null,
  form: "Command line",
  focus: null,
};

const text = $("text");
const wheel = circle($("circle"), {
  want(target) {
    state.wish = {target};
    state.target = target;
    state.after = null;
    $("persona").value = "";
    $("saved").value = "";
    wished();
  },
  focus(name) {
    state.focus = name;
    focused();
    mark();
  },
});

// — Reading the text

let reading = null;
let first = true;

async function read() {
  reading?.abort();
  const mine = reading = new AbortController();
  const given = state.text;
  if (!given.trim()) {
    Object.assign(state, {clauses: [], before: null});
    drawn();
    return;
  }
  try {
    const answer = await api.detect({text: given}, mine.signal);
    if (state.text !== given) return;
    state.before = answer.values;
    complain("");
    if (state.wish?.words) translate();
    drawn();
    if (first) {
      first = false;
      performance.mark("visa-first-detection");
      document.documentElement.dataset.detected = "yes";
    }
    const spans = await api.spans({text: given}, mine.signal);
    if (state.text !== given) return;
    state.clauses = clauses(given, spans);
    mark();
    carriers();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error.status === 429) return setTimeout(() => state.text === given && read(), 1000 * (error.retryAfter || 1));
    complain(error.message);
  }
}

const readSoon = debounce(180, read);

function typed(value, {now = false} = {}) {
  state.clauses = carry(state.text, value, state.clauses);
  state.text = value;
  state.after = null;
  mark();
  store.set("text", value.length <= 20000 ? value : "");
  took();
  if (now) read();
  else readSoon();
}

text.addEventListener("input", () => typed(text.value));

function put(value) {
  text.value = value;
  typed(value, {now: true});
}

// — The wish

let translating = null;

async function translate() {
  translating?.abort();
  const mine = translating = new AbortController();
  const words = state.wish?.words;
  if (!words) return;
  try {
    const answer = await api.translate(words, state.before ?? zero(), mine.signal);
    if (state.wish?.words !== words) return;
    state.target = answer.target;
    const note = answer.notice ?? `Asks for ${say.shift(answer.shift)}.`;
    $("wish-note").textContent = note[0].toUpperCase() + note.slice(1);
    drawn();
    took();
  } catch (error) {
    if (error.name === "AbortError") return;
    $("wish-note").textContent = error.message;
  }
}

const translateSoon = debounce(250, translate);

$("persona").addEventListener("input", () => {
  const words = $("persona").value.trim();
  state.wish = words ? {words} : null;
  state.target = null;
  state.after = null;
  $("saved").value = "";
  wished();
  if (words) translateSoon();
});

function wish(words) {
  $("persona").value = words;
  $("saved").value = "";
  Object.assign(state, {wish: {words}, target: null, after: null});
  wished();
  translate();
}

function wished() {
  if (!state.wish) $("wish-note").textContent = "Or drag the points on the circle to where they should be.";
  else if (state.wish.target) $("wish-note").textContent = state.wish.from ? `Saved profile: ${state.wish.from}.` : "Values set on the circle.";
  $("clear-wish").hidden = !state.wish;
  drawn();
  took();
}

$("clear-wish").addEventListener("click", () => {
  Object.assign(state, {wish: null, target: null, after: null});
  $("persona").value = "";
  $("saved").value = "";
  wished();
  $("persona").focus();
});

async function loadSaved() {
  try {
    const all = await api.profiles();
    const given = store.get("wish", null);
    store.drop("wish");
    $("saved").replaceChildren(h("option", {value: ""}, "Saved profiles"), ...all.map((p) => h("option", {value: p.name}, p.name)));
    $("saved").hidden = all.length === 0;
    $("saved").addEventListener("change", () => {
      const found = all.find((p) => p.name === $("saved").value);
      if (found) take(found);
    });
    if (given) take(given);
  } catch { /* a server without profiles works all the same */ }
}

// A saved profile as the wish: {name, persona | target | shift}.
function take(profile) {
  if (profile.persona) return wish(profile.persona);
  const from = state.before ?? zero();
  const target = profile.target
    ? {...zero(), ...profile.target}
    : Object.fromEntries(NAMES.map((n) => [n, Math.max(-1, Math.min(1, from[n] + (profile.shift?.[n] ?? 0)))]));
  $("persona").value = "";
  Object.assign(state, {wish: {target, from: profile.name}, target, after: null});
  wished();
}

// — The rewrite

let rewriting = null;

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  rewrite();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    rewrite();
  }
});
$("stop").addEventListener("click", () => rewriting?.abort());

// What "Search longer" asks for: several times as much as the server does by itself, from another seed.
const LONGER = {candidates: 24, rounds: 6, seed: 1};
$("longer").addEventListener("click", () => rewrite(LONGER));

async function rewrite(search) {
  if (rewriting) return;
  if (!state.text.trim()) return missing("Write or choose a text first.", text);
  if (!state.wish) return missing("Say whose values the text should speak, or drag the points on the circle.", $("persona"));
  complain("");
  const mine = rewriting = new AbortController();
  const given = {text: state.text, wish: state.wish};
  $("rewrite").disabled = true;
  $("stop").hidden = false;
  result.start();
  $("result").scrollIntoView({block: "nearest"});
  let outcome = null;
  try {
    for await (const {event, data} of api.rewrite(record(given.text, given.wish), mine.signal, search)) {
      if (event === "error") throw new Error(data.error?.message ?? data.error ?? "the rewrite failed");
      if (event === "outcome") outcome = data;
      else result.round(event, data);
      if (state.text !== given.text) continue;
      if (event === "aimed") Object.assign(state, {before: data.before, target: data.target});
      if (event === "judged" && data.best) state.after = data.best.after;
      drawn();
    }
    if (!outcome) throw new Error("The server ended the rewrite without an outcome.");
    result.finish(outcome);
    if (state.text === given.text) {
      state.after = outcome.outcome === "rewritten" ? outcome.after : null;
      drawn();
    }
    last = outcome;
    past.add({at: Date.now(), text: given.text, wish: given.wish, outcome});
    $("h-result").focus();
  } catch (error) {
    if (error.name === "AbortError") result.stopped("Stopped");
    else {
      result.stopped("The rewrite failed");
      complain(error.message);
    }
  } finally {
    rewriting = null;
    $("rewrite").disabled = false;
    $("stop").hidden = true;
  }
}

function missing(words, element) {
  complain(words);
  element.focus();
}

function complain(words) {
  $("alert").textContent = words;
  $("alert").hidden = !words;
}

let last = null;
$("copy-after").addEventListener("click", (event) => {
  const button = event.currentTarget;
  copy(last?.rewritten ?? "", (words) => {
    button.textContent = words;
    setTimeout(() => { button.textContent = "Copy the text"; }, 1500);
  });
});
$("use-after").addEventListener("click", () => {
  if (!last) return;
  put(last.rewritten);
  text.focus();
});

const past = history((entry) => {
  text.value = state.text = entry.text;
  last = entry.outcome;
  Object.assign(state, {wish: entry.wish, target: entry.outcome.target, before: entry.outcome.before, clauses: [],
    after: entry.outcome.outcome === "rewritten" ? entry.outcome.after : null});
  $("persona").value = entry.wish?.words ?? "";
  const after = state.after;
  result.start();
  $("rounds").replaceChildren();
  result.finish(entry.outcome);
  wished();
  if (entry.wish?.words) $("wish-note").textContent = "";
  read().then(() => {
    state.after = after;
    drawn();
  });
  $("h-result").focus();
});

// — Drawing

function drawn() {
  wheel.show({before: state.before, after: state.after, target: state.target});
  const shown = state.after ?? state.before;
  $("reading").textContent = shown ? `${state.after ? "The rewrite " : "The text "}${lower(say.profile(shown))}` : "";
  const entry = (kind, words) => h("li", {class: kind}, words);
  $("legend").replaceChildren(...[
    state.before && entry("before", state.after ? "before" : "the text"),
    state.after && entry("after", "the rewrite"),
    state.target && entry("want", "wanted"),
  ].filter(Boolean));
  $("numbers").replaceChildren(table([["The text", state.before ?? zero()], ["Wanted", state.target], ["Rewrite", state.after]]));
  mark();
  carriers();
  focused();
  const count = state.text.split(/\s+/).filter(Boolean).length;
  $("count").textContent = count ? `${count} ${count === 1 ? "word" : "words"}` : "";
}

const lower = (t) => t[0].toLowerCase() + t.slice(1);

function mark() {
  const nodes = pieces(state.text, state.clauses).map(({text, clause}) => {
    if (!clause) return text;
    const found = state.focus ? clause.values.find((v) => v.value === state.focus) : clause.values[0];
    if (!found) return text;
    const size = Math.abs(found.weight);
    return h("mark", {"data-value": found.value, class: `w${size >= 0.4 ? 3 : size >= 0.2 ? 2 : 1}${found.weight < 0 ? " against" : ""}`}, text);
  });
  // A last line break needs something behind it to take up a line.
  $("backdrop").replaceChildren(...nodes, "\u200b");
}

function carriers() {
  const rows = NAMES.map((name) => [name, state.clauses.flatMap((c) =>
    c.values.filter((v) => v.value === name).map((v) => ({...v, words: state.text.slice(c.start, c.end).trim()})))])
    .filter(([, list]) => list.length);
  $("carriers").replaceChildren(...(rows.length ? [h("dl", {}, rows.flatMap(([name, list]) => [
    h("dt", {}, h("span", {class: "dot", "data-value": name}), name),
    ...list.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight)).slice(0, 5).map((v) =>
      h("dd", {}, h("span", {class: "number"}, signed(v.weight)), ` “${v.words}”`)),
  ]))] : [h("p", {class: "note"}, "No clause of this text carries a value by itself.")]));
}

function focused() {
  const name = state.focus ?? null;
  if (!name) {
    $("focus").replaceChildren(h("p", {class: "note"}, "Outwards: embraces. Inwards: rejects. On the ring: silent. Point at a value to see its words."));
    return;
  }
  const now = state.before?.[name] ?? 0;
  const more = [];
  if (state.target && Math.abs(state.target[name] - now) >= 0.025) more.push(`wanted ${signed(state.target[name])}`);
  if (state.after) more.push(`the rewrite ${signed(state.after[name])}`);
  $("focus").replaceChildren(h("p", {class: "note"}, h("strong", {}, name), ` – ${ABOUT[name]}. The text ${Math.abs(now) < SILENT ? "is silent" : say.strength(now)} (${signed(now)})${more.length ? `; ${more.join(", ")}` : ""}.`));
}

// — Taking it away

const tabs = Object.keys(FORMS).map((name) => h("button", {type: "button", role: "tab", "aria-controls": "copy-panel", onclick: () => {
  state.form = name;
  took();
}}, name));
$("copy-tabs").append(...tabs);
$("copy-tabs").addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  const i = (tabs.findIndex((t) => t.textContent === state.form) + step + tabs.length) % tabs.length;
  tabs[i].click();
  tabs[i].focus();
});

function took() {
  for (const tab of tabs) {
    const on = tab.textContent === state.form;
    tab.setAttribute("aria-selected", on);
    tab.tabIndex = on ? 0 : -1;
  }
  $("copy-code").textContent = FORMS[state.form](state.text, state.wish,
    {origin: location.origin, target: state.target, before: state.before ?? zero()});
  $("copied").textContent = "";
}
$("copy-button").addEventListener("click", () => copy($("copy-code").textContent, (words) => { $("copied").textContent = words; }));

// — Beginning

const chip = (label, use) => h("button", {type: "button", class: "chip", onclick: use}, label);
$("text-examples").append(...TEXTS.map(([label, example]) => chip(label, () => put(example))));
$("wish-examples").append(...WISHES.map((words) => chip(words, () => wish(words))));
text.value = store.get("text", "") || TEXTS[0][1];
typed(text.value, {now: true});
theme();
wished();
loadSaved();
