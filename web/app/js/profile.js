// Ways to a profile (statements, own texts, words, by hand), and the profiles that the server keeps.

import * as api from "./api.js";
import {circle, table} from "./circle.js";
import {$, copy, h, store} from "./dom.js";
import {cosine, profile} from "./questions.js";
import {toml} from "./take.js";
import {theme} from "./theme.js";
import {NAMES, signed, ten, zero} from "./values.js";
import * as say from "./words.js";

theme();

// The profile on the circle, where it comes from, and, from texts, how sure it is.
let target = null, about = "", sure = {};

const wheel = circle($("circle"), {want(wanted) {
  put(wanted, target && about && !about.endsWith("by hand") ? `${about}, then by hand` : "set by hand");
}});

function put(profile, from, known = {}) {
  [target, about, sure] = [profile, from, known];
  wheel.show({before: target ?? zero(), target: null, uncertainty: sure.uncertainty ?? null});
  $("reading").textContent = target ? (sure.texts ? say.texts(target, sure.uncertainty) : say.person(target)) : "";
  $("ready").hidden = !target;
  $("said").textContent = "";
}

// — Ways to a profile

const WAYS = ["answers", "texts", "words"];

function way(name) {
  for (const each of WAYS) {
    const on = each === name;
    $(`way-${each}`).setAttribute("aria-selected", on);
    $(`way-${each}`).tabIndex = on ? 0 : -1;
    $(`by-${each}`).hidden = !on;
  }
}
for (const name of WAYS) $(`way-${name}`).addEventListener("click", () => way(name));
$("ways").addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  const now = WAYS.findIndex((w) => $(`way-${w}`).tabIndex === 0);
  const next = $(`way-${WAYS[(now + step + WAYS.length) % WAYS.length]}`);
  next.click();
  next.focus();
});
way("answers");

async function questions() {
  const {items, answers: scale} = await (await fetch("data/questionnaire.json")).json();
  const given = store.get("answers", []);
  $("questions").replaceChildren(h("p", {class: "scale note"}, `1 ${scale[0]} … ${scale.length} ${scale.at(-1)}`),
    ...items.map((item, i) => h("fieldset", {},
      h("legend", {}, item.text),
      h("div", {class: "answers"}, scale.map((words, a) => {
        const input = h("input", {type: "radio", name: `q${i}`, value: a + 1, id: `q${i}a${a}`, checked: given[i] === a + 1});
        return h("span", {}, input, h("label", {for: `q${i}a${a}`, title: words}, `${a + 1}`, h("span", {class: "hidden"}, ` ${words}`)));
      })))));
  const read = () => {
    const answers = items.map((_, i) => Number($("questions").elements[`q${i}`].value) || 0);
    store.set("answers", answers);
    const done = answers.filter(Boolean).length;
    $("again").hidden = done === 0;
    if (done === items.length) {
      put(profile(items, answers), "answers to twenty statements, centred");
      if (new Set(answers).size === 1) $("reading").textContent = "Every answer is the same, so no value goes before another.";
    } else {
      put(null, "");
      $("reading").textContent = done ? `${done} of ${items.length} answered.` : "Answer the statements, or drag the points.";
    }
  };
  $("questions").addEventListener("change", read);
  $("again").addEventListener("click", () => {
    $("questions").reset();
    for (const radio of $("questions").querySelectorAll("input")) radio.checked = false;
    read();
    $("questions").querySelector("input").focus();
  });
  read();
}

// — From texts

const files = [];

const given = () => [...say.paragraphs($("texts").value), ...files];

function counted() {
  const n = given().length;
  const words = n ? `${n} ${n === 1 ? "text" : "texts"}${files.length ? `, ${files.length} of them from files` : ""}.` : "";
  $("texts-note").textContent = n && n < 8 ? `${words} More make it surer; twenty are a good beginning.` : words;
  $("no-texts").hidden = n === 0;
}
$("texts").addEventListener("input", counted);
$("files").addEventListener("change", async () => {
  for (const file of $("files").files) files.push((await file.text()).trim());
  files.splice(0, files.length, ...files.filter(Boolean));
  $("files").value = "";
  counted();
});
$("no-texts").addEventListener("click", () => {
  $("texts").value = "";
  files.length = 0;
  $("sure").hidden = true;
  counted();
  $("texts").focus();
});

let reading = null;
$("own").addEventListener("submit", async (event) => {
  event.preventDefault();
  const texts = given();
  if (!texts.length) {
    $("texts-note").textContent = "Write or paste a text first, or add files.";
    return $("texts").focus();
  }
  reading?.abort();
  const mine = reading = new AbortController();
  $("texts-note").textContent = texts.length > 20 ? `Reading ${texts.length} texts …` : "Reading …";
  try {
    const answer = await api.estimate(texts, mine.signal);
    counted();
    put(answer.target, answer.about, {uncertainty: answer.uncertainty, texts: answer.texts});
    $("sure-words").textContent = answer.notice;
    $("sure-table").replaceChildren(table([["mean", answer.target], ["\u00b1", answer.uncertainty]], ["\u00b1"]));
    $("sure").hidden = false;
  } catch (error) {
    if (error.name !== "AbortError") $("texts-note").textContent = error.message;
  }
});

// — In words

$("describe").addEventListener("submit", async (event) => {
  event.preventDefault();
  const words = $("words").value.trim();
  if (!words) return $("words").focus();
  try {
    const answer = await api.translate(words, zero());
    put(answer.target, words);
    $("words-note").textContent = answer.notice ? `${answer.notice[0].toUpperCase()}${answer.notice.slice(1)}.` : "";
  } catch (error) {
    $("words-note").textContent = error.message;
  }
});

// — Keeping it

$("keep").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const name = $("name").value.trim();
    await api.putProfile(name, {target, about, ...sure});
    $("said").textContent = `Saved as ${name}.`;
    await saved();
  } catch (error) {
    $("said").textContent = error.message;
  }
});
$("copy").addEventListener("click", () => copy(toml({name: $("name").value.trim(), about, target, ...sure}), (words) => { $("said").textContent = words; }));
$("use").addEventListener("click", () => go({name: about, target}));

function go(wish) {
  store.set("wish", wish);
  location.href = "./";
}

let all = [];

async function saved() {
  try {
    all = await api.profiles();
    $("alert").hidden = true;
  } catch (error) {
    $("alert").textContent = error.message;
    $("alert").hidden = false;
    return;
  }
  $("saved").replaceChildren(...(all.length ? all.map(entry) : [h("li", {class: "note"}, "None yet.")]));
  const some = all.filter((p) => p.target);
  $("compare").hidden = some.length < 2;
  for (const [id, at] of [["one", 0], ["other", 1]]) {
    const before = $(id).value;
    $(id).replaceChildren(...some.map((p) => h("option", {value: p.name}, p.name)));
    $(id).value = some.some((p) => p.name === before) ? before : some[at]?.name ?? "";
  }
  if (some.length >= 2) compare();
}

function entry(p) {
  const words = p.target ? say.person(p.target).replace(/^This person puts/, "Puts") : p.persona ? `“${p.persona}”` : `Asks for ${say.shift(p.shift)}.`;
  return h("li", {},
    h("button", {type: "button", class: "entry", onclick: () => go(p)},
      h("span", {class: "entry-text"}, p.name), h("span", {class: "note"}, `${words}${p.about && p.about !== p.persona ? ` From ${p.about}.` : ""}`)),
    p.target && h("button", {type: "button", class: "plain", "aria-label": `Copy ${p.name} as TOML`, onclick: (event) => {
      const button = event.currentTarget;
      copy(toml(p), (said) => { button.textContent = said; });
    }}, "TOML"),
    h("button", {type: "button", class: "plain", "aria-label": `Delete ${p.name}`, onclick: async () => {
      try {
        await api.deleteProfile(p.name);
      } catch (error) {
        $("alert").textContent = error.message;
        $("alert").hidden = false;
      }
      await saved();
      $("h-kept").tabIndex = -1;
      $("h-kept").focus();
    }}, "Delete"));
}

const [left, right] = [circle($("circle-one")), circle($("circle-other"))];

function compare() {
  const [a, b] = ["one", "other"].map((id) => all.find((p) => p.name === $(id).value));
  if (!a?.target || !b?.target) return;
  $("h-one").textContent = a.name;
  $("h-other").textContent = b.name;
  left.show({before: a.target});
  right.show({before: b.target});
  const near = cosine(ten(a.target), ten(b.target));
  const words = near >= 0.8 ? "Much alike" : near >= 0.3 ? "Somewhat alike" : near > -0.3 ? "About different things" : near > -0.8 ? "Rather opposed" : "Opposed";
  $("alike").textContent = `${words} (${signed(near)}).`;
  const apart = Object.fromEntries(NAMES.map((n) => [n, (b.target[n] ?? 0) - (a.target[n] ?? 0)]));
  $("difference").replaceChildren(table([[a.name, a.target], [b.name, b.target], ["difference", apart]]));
}
$("one").addEventListener("change", compare);
$("other").addEventListener("change", compare);

questions();
saved();
