// A run's curves and samples as they are written: what is new is asked for every two seconds.

import * as api from "./api.js";
import {chart} from "./chart.js";
import {$, h} from "./dom.js";
import {Log, samples} from "./log.js";
import {theme} from "./theme.js";

theme();
const EVERY = 2000;
let watched = null;
let timer = 0;

function fresh(name) {
  clearTimeout(timer);
  watched = {name, log: new Log(), metrics: 0, samples: 0, text: "", running: false};
  $("charts").replaceChildren();
  $("samples-box").hidden = true;
}

async function runs() {
  try {
    const all = await api.runs();
    $("run").replaceChildren(...all.map((r) => h("option", {value: r.name}, r.running ? `${r.name} (running)` : r.name)));
    $("run").disabled = all.length === 0;
    if (all.length) watch(all[0].name);
    else say("No run has written a metrics.jsonl there yet.");
  } catch (error) {
    $("run").disabled = true;
    say(error.status === 404 ? "This server watches no folder; open a file instead." : error.message);
  }
}

function watch(name) {
  fresh(name);
  more(watched);
}

async function more(mine) {
  try {
    // A long run comes in several pieces.
    for (let grown = true; grown && mine === watched;) {
      const answer = await api.run(mine.name, mine.metrics, mine.samples);
      if (mine !== watched) return;
      if (answer.metrics.reset) Object.assign(mine, {log: new Log()});
      if (answer.samples.reset) mine.text = "";
      mine.log.add(answer.metrics.text);
      mine.text += answer.samples.text;
      grown = answer.metrics.text.length > 500000;
      Object.assign(mine, {metrics: answer.metrics.next, samples: answer.samples.next, running: answer.running});
    }
    complain("");
    draw(mine);
  } catch (error) {
    complain(error.message);
  }
  if (mine === watched && $("follow").checked) timer = setTimeout(() => more(mine), EVERY);
}

function draw({log, text, running, name}) {
  const order = ["loss", ...log.measures.keys()];
  const names = [...new Set(order)].filter((n) => log.measures.has(n));
  $("charts").replaceChildren(...names.map((n) => {
    const lines = [...log.measures.get(n)].map(([kind, points]) => ({kind: kind === "train" ? "train" : "eval", points}));
    return chart(n, lines, $("smooth").checked);
  }));
  const bad = log.bad ? `; ${log.bad} lines could not be read` : "";
  say(names.length ? `${name}: step ${log.step}${running ? ", running" : ""}${bad}` : `${name}: no measures yet${bad}`);
  const all = samples(text);
  $("samples-box").hidden = all.length === 0;
  const steps = all.map((s) => s.step).join();
  if ($("step").dataset.steps !== steps) {
    const last = $("step").selectedIndex < 0 || $("step").selectedIndex === 0;
    const chosen = $("step").value;
    $("step").dataset.steps = steps;
    $("step").replaceChildren(...all.map((s, i) => h("option", {value: i}, String(s.step))).reverse());
    if (!last) $("step").value = chosen;
  }
  const show = () => { $("samples").textContent = all[$("step").value]?.text ?? ""; };
  $("step").onchange = show;
  show();
}

function say(words) {
  if ($("state").textContent !== words) $("state").textContent = words;
}

function complain(words) {
  $("alert").textContent = words;
  $("alert").hidden = !words;
}

$("run").addEventListener("change", () => watch($("run").value));
$("smooth").addEventListener("change", () => watched && draw(watched));
$("follow").addEventListener("change", () => {
  clearTimeout(timer);
  if ($("follow").checked && watched && !watched.file) more(watched);
});
$("file").addEventListener("change", async () => {
  const [file] = $("file").files;
  if (!file) return;
  fresh(file.name);
  watched.file = true;
  watched.log.add(await file.text());
  complain(watched.log.measures.size ? "" : "No measures are in that file; a run writes them into metrics.jsonl.");
  draw(watched);
});

runs();
