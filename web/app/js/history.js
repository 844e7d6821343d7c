// What was rewritten, in this browser only.

import {$, h, store} from "./dom.js";

const MOST = 30;
const LONGEST = 20000;

export function history(restore) {
  let entries = store.get("history", []);
  if (!Array.isArray(entries)) entries = [];

  function show() {
    $("forget").hidden = entries.length === 0;
    $("history").replaceChildren(...(entries.length ? entries.map(item)
      : [h("li", {class: "note"}, "Nothing yet: your rewrites will be listed here.")]));
  }

  function item(entry, i) {
    const words = entry.text.length > 90 ? `${entry.text.slice(0, 90).trimEnd()}…` : entry.text;
    const wish = entry.wish?.words ?? "values set on the circle";
    const when = new Date(entry.at).toLocaleString([], {dateStyle: "medium", timeStyle: "short"});
    return h("li", {},
      h("button", {type: "button", class: "entry", onclick: () => restore(entry)},
        h("span", {class: "entry-text"}, words),
        h("span", {class: "note"}, `${wish} · ${entry.outcome.outcome.replace("-", " ")} · ${when}`)),
      h("button", {type: "button", class: "plain", "aria-label": `Forget: ${words}`, onclick: () => {
        entries.splice(i, 1);
        save();
        ($("history").querySelectorAll(".entry")[Math.min(i, entries.length - 1)] ?? $("h-past")).focus();
      }}, "Forget"));
  }

  function save() {
    store.set("history", entries);
    show();
  }

  $("forget").addEventListener("click", () => {
    entries = [];
    save();
  });
  show();
  return {
    add(entry) {
      if (entry.text.length > LONGEST) return;
      entries = [entry, ...entries.filter((e) => e.text !== entry.text || JSON.stringify(e.wish) !== JSON.stringify(entry.wish))].slice(0, MOST);
      save();
    },
  };
}
