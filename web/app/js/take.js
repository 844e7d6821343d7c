// A wish and a text as something to run elsewhere: the command line, curl, Python, a TOML profile.

import {NAMES, signed, ten} from "./values.js";

const round = (x) => Math.round(x * 100) / 100;
const shell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

// The record of /v1/rewrite: {text, persona | target}.
export function record(text, wish) {
  if (wish?.words) return {text, persona: wish.words};
  if (wish?.target) return {text, target: Object.fromEntries(NAMES.map((n) => [n, round(wish.target[n] ?? 0)]))};
  return {text};
}

// TOML's basic string: control characters are escaped as \uXXXX.
export function tomlString(text) {
  const escaped = text.replace(/[\\"]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t")
    .replace(/[\u0000-\u001f\u007f]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  return `"${escaped}"`;
}

// A profile file, as `visa profile` writes it.
export function toml({name = "", about = "", target, uncertainty = null, texts = 0}) {
  const numbers = (profile) => ten(profile).map((x, i) => `${NAMES[i]} = ${round(x).toFixed(2)}`).join("\n");
  const head = [];
  if (name) head.push(`name = ${tomlString(name)}`);
  if (about) head.push(`about = ${tomlString(about)}`);
  if (texts) head.push(`texts = ${texts}`);
  return `${head.join("\n")}${head.length ? "\n\n" : ""}[target]\n${numbers(target)}\n${uncertainty ? `\n[uncertainty]\n${numbers(uncertainty)}\n` : ""}`;
}

const words = (target) => ten(target).map((x, i) => [NAMES[i], round(x)]).filter(([, x]) => x !== 0)
  .map(([n, x]) => `${n}=${signed(x).replace("\u2212", "-")}`).join(", ");

export const FORMS = {
  "Command line": (text, wish) => wish
    ? `visa rewrite ${wish.words ? `--persona ${shell(wish.words)}` : `--target ${shell(words(wish.target) || "power=0")}`} ${shell(text)}`
    : `visa detect ${shell(text)}`,
  "curl": (text, wish, {origin}) => {
    const path = wish ? "rewrite" : "detect";
    return `curl -s ${origin}/v1/${path} \\\n  -H 'content-type: application/json' \\\n  -d ${shell(JSON.stringify(record(text, wish)))}`;
  },
  "Python": (text, wish, {origin}) => {
    const path = wish ? "rewrite" : "detect";
    const body = JSON.stringify(record(text, wish), null, 4);
    const show = wish ? 'print(answer["outcome"], "–", answer["reason"])\nprint(answer["rewritten"])' : 'print(answer["values"])';
    return `import json\nimport urllib.request\n\nrecord = ${body}\n\nrequest = urllib.request.Request(\n    "${origin}/v1/${path}",\n    data=json.dumps(record).encode(),\n    headers={"content-type": "application/json"},\n)\nwith urllib.request.urlopen(request) as response:\n    answer = json.load(response)\n${show}\n`;
  },
  "TOML profile": (text, wish, {target, before}) => toml(target
    ? {about: wish?.words ?? "set on the circle", target}
    : {about: "what a text speaks", target: before}),
};
