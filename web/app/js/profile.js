// The questionnaire, and the profiles that the server keeps.

import * as api from "./api.js";
import {circle, table} from "./circle.js";
import {$, copy, h, store} from "./dom.js";
import {cosine, profile} from "./questions.js";
import {toml} from "./take.js";
import {theme} from "./theme.js";
import {NAMES, signed, ten, zero} from "./values.js";
import * as say from "./words.js";

theme();
const ABOUT = "answers to twenty statements, centred";
let target = null;

const wheel = circle($("circle"), {want(wanted) {
  target = wanted;
  wheel.show({target: null, before: target});
  tell();
}});

function tell() {
  $("reading").textContent = target ? say.person(target) : "";
  $("ready").hidden = !target;
}

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
      target = profile(items, answers);
      wheel.show({before: target, target: null});
      tell();
      if (new Set(answers).size === 1) $("reading").textContent = "Every answer is the same, so no value goes before another.";
    } else {
      target = null;
      wheel.show({before: zero(), target: null});
      tell();
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

$("keep").addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const name = $("name").value.trim();
    await api.putProfile(name, {target, about: ABOUT});
    $("said").textContent = `Saved as ${name}.`;
    await saved();
  } catch (error) {
    $("said").textContent = error.message;
  }
});
$("copy").addEventListener("click", () => copy(toml({name: $("name").value.trim(), about: ABOUT, target}), (words) => { $("said").textContent = words; }));
$("use").addEventListener("click", () => go({name: "your answers", target}));

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
      h("span", {class: "entry-text"}, p.name), h("span", {class: "note"}, `${words}${p.about ? ` ${p.about}` : ""}`)),
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
