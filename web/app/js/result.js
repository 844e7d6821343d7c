// The rewrite as it happens, and what came of it.

import {$, h} from "./dom.js";
import {diff} from "./diff.js";
import * as say from "./words.js";

const TITLES = {"rewritten": "Rewritten", "unchanged": "Nothing to change", "kept-original": "The original was kept"};

export function start() {
  $("result").hidden = false;
  $("outcome").hidden = true;
  $("advice").hidden = true;
  $("h-result").textContent = "Rewriting";
  $("result").dataset.outcome = "running";
  $("reason").textContent = "";
  $("rounds").replaceChildren(step("Reading the text and the wish"));
}

const step = (text) => h("li", {class: "now"}, h("span", {class: "step"}, text));

function settle(text, share) {
  const last = $("rounds").lastElementChild;
  if (!last) return;
  last.classList.remove("now");
  if (text) last.firstElementChild.textContent = text;
  if (share !== undefined) last.append(bar(share));
}

const bar = (share) => h("progress", {max: 1, value: Math.max(0, Math.min(1, share)).toFixed(3), "aria-label": "share of the way"});

// One event of the stream, without the outcome.
export function round(event, data) {
  if (event === "aimed") settle("The text is read and the target is set");
  if (event === "asking") {
    settle();
    $("rounds").append(step(`Round ${data.round} of ${data.of}: candidates are being written`));
  }
  if (event === "judged") {
    const count = data.candidates === 1 ? "1 candidate" : `${data.candidates} candidates`;
    if (!data.candidates) settle(`Round ${data.round}: no candidate kept its facts`);
    else if (!data.best) settle(`Round ${data.round}: ${count} judged, none both nearer and true to the meaning`);
    else {
      const {value, consistency} = data.best.score;
      settle(`Round ${data.round}: ${count} judged. Best: ${say.progress(value.progress)}, meaning ${say.meaning(consistency.mean)}${data.accepted ? " – accepted" : " – not accepted yet"}`, value.progress);
    }
  }
}

export function stopped(words) {
  settle();
  $("h-result").textContent = words;
  $("result").dataset.outcome = "stopped";
}

// The outcome object of the API.
export function finish(outcome) {
  settle();
  $("h-result").textContent = TITLES[outcome.outcome] ?? outcome.outcome;
  $("result").dataset.outcome = outcome.outcome;
  $("reason").textContent = sentence(outcome.reason);
  const changed = outcome.outcome === "rewritten";
  $("advice").hidden = outcome.outcome !== "kept-original";
  const pieces = changed ? diff(outcome.original, outcome.rewritten) : [{kind: "same", text: outcome.original}];
  const side = (text, other) => pieces
    ? pieces.filter((p) => p.kind !== other).map((p) => p.kind === "same" ? p.text
      : h(p.kind === "gone" ? "del" : "ins", {}, p.text))
    : [text];
  $("before").replaceChildren(...side(outcome.original, "new"));
  $("after").replaceChildren(...side(outcome.rewritten, "gone"));
  $("result-actions").hidden = !changed;
  $("score").replaceChildren(...(changed ? say.score(outcome.score).flatMap(scoreRow) : []));
  $("score").previousElementSibling.hidden = !changed;
  $("after").parentElement.hidden = !changed;
  $("outcome").querySelector(".pair").classList.toggle("single", !changed);
  $("outcome").hidden = false;
}

const sentence = (text) => text ? `${text[0].toUpperCase()}${text.slice(1)}.` : "";

const scoreRow = (row) => [
  h("dt", {}, row.name),
  h("dd", {}, h("p", {class: "said"}, row.words, row.share === null ? null : bar(row.share)), h("p", {class: "note"}, row.detail)),
];
