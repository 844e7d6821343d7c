// The server as the page sees it, without models: answers by a few words, so that the journey knows what to expect.
// Headers are those of the real one, above all the policy that forbids inline scripts and styles.

import {createServer} from "node:http";
import {readFile} from "node:fs/promises";
import {dirname, extname, join, normalize} from "node:path";
import {fileURLToPath} from "node:url";

const APP = join(dirname(fileURLToPath(import.meta.url)), "../app");
const TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml", ".json": "application/json"};
const NAMES = ["self-direction", "stimulation", "hedonism", "achievement", "power", "security", "conformity", "tradition",
  "benevolence", "universalism"];
const WORDS = {tradition: /grandparents|customs|parents|old|tradition/i, conformity: /rules|please/i, security: /safe|security|cautious/i,
  stimulation: /risks|new|surprises|adventur/i, "self-direction": /nobody tells|choose|think/i, achievement: /goals|sold|ambitious|results/i,
  universalism: /every person|nature|equal/i, benevolence: /people|care|nurse/i, power: /rich|orders|manager/i, hedonism: /fun|food/i};
const CLAUSE = " Out of respect for the old customs we keep a place for everybody.";

const bytes = (text) => Buffer.byteLength(text);

function detect(text) {
  const spans = [];
  const values = Object.fromEntries(NAMES.map((n) => [n, 0]));
  for (const match of text.matchAll(/[^.,;\n]+[.,;]?/g)) {
    for (const [value, pattern] of Object.entries(WORDS)) {
      if (!pattern.test(match[0])) continue;
      const weight = /not|hate|boring/.test(match[0]) ? -0.35 : 0.45;
      const lead = match[0].length - match[0].trimStart().length;
      spans.push({start: bytes(text.slice(0, match.index + lead)), end: bytes(text.slice(0, match.index + match[0].length)), value, weight});
      values[value] = Math.max(-1, Math.min(1, values[value] + weight));
    }
  }
  return {id: 1, values, categories: {}, spans};
}

function translate(instruction, from = {}) {
  const shift = Object.fromEntries(NAMES.map((n) => [n, WORDS[n].test(instruction) ? 0.6 : 0]));
  const target = Object.fromEntries(NAMES.map((n) => [n, Math.max(-1, Math.min(1, (from[n] ?? 0) + shift[n]))]));
  const silent = Object.values(shift).every((x) => x === 0);
  return {id: 1, shift, target, ...(silent && {notice: "the instruction says nothing about values, so nothing is shifted"})};
}

// Means, with an uncertainty and a count that are plain enough to see on the page.
function estimate(texts) {
  const all = texts.map((t) => detect(t).values);
  const target = Object.fromEntries(NAMES.map((n) => [n, all.reduce((sum, v) => sum + v[n], 0) / all.length]));
  return {id: 1, target, about: `the mean of ${texts.length} texts`, texts: texts.length, users: [], teams: [],
    ...(texts.length > 1 && {uncertainty: Object.fromEntries(NAMES.map((n) => [n, 0.2])), needed: 40}),
    notice: `${texts.length} texts are not enough to know every value to \u00b10.10; about 40 are needed.`};
}

const wait = (ms) => new Promise((done) => setTimeout(done, ms));

async function rewrite(record, response) {
  const send = (event, data) => response.write(`event: ${event}\ndata: ${JSON.stringify({id: 1, event, ...data})}\n\n`);
  const before = detect(record.text).values;
  const target = record.target ? {...Object.fromEntries(NAMES.map((n) => [n, 0])), ...record.target} : translate(record.persona ?? "", before).target;
  const rewritten = record.text + CLAUSE;
  const after = detect(rewritten).values;
  const score = (progress) => ({value: {cosine: 0.9, l2: 0.4, progress, movement: 0.88},
    consistency: {forward: 0.72, backward: 0.99, mean: 0.855}, guards: [], total: 0.87});
  response.writeHead(200, {...HEADERS, "content-type": "text/event-stream"});
  const kept = record.text.includes("timetable") || record.text.includes("platform");
  send("aimed", {before, target});
  for (let round = 1; round <= (kept ? 3 : 2); round++) {
    send("asking", {round, of: 3});
    await wait(250);
    send("judged", {round, candidates: 7, accepted: !kept && round === 2, ...(!kept && {best: {after, score: score(round * 0.24)}})});
  }
  const shared = {original: record.text, before, target};
  send("outcome", kept
    ? {...shared, rewritten: record.text, outcome: "kept-original", reason: "no candidate of 3 rounds kept the meaning", after: before, score: score(0), rounds: 3, candidates: 24}
    : {...shared, rewritten, outcome: "rewritten", reason: "accepted in round 2 of 3: values moved, meaning kept", after, score: score(0.48), rounds: 2, candidates: 16});
  response.end("event: done\ndata: {}\n\n");
}

const HEADERS = {
  "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff", "cache-control": "no-store", "referrer-policy": "no-referrer",
};

// A run that grows by ten steps each time it is asked for.
let step = 0;
function run(url) {
  step = Math.min(400, step + 40);
  const lines = [], samples = [];
  for (let i = 10; i <= step; i += 10) {
    lines.push(JSON.stringify({kind: "train", step: i, loss: 3 * Math.exp(-i / 150) + 1 + 0.1 * Math.sin(i), lr: 3e-4, tokens_per_second: 5000 + 100 * Math.cos(i)}));
    if (i % 100 === 0) {
      lines.push(JSON.stringify({kind: "eval", step: i, loss: 3 * Math.exp(-i / 150) + 1.1, f1: 0.5 - 0.4 * Math.exp(-i / 120)}));
      samples.push(`== step ${i}\nWe should keep the park because | it is where <b>children</b> learn to play.   <+security>\n`);
    }
  }
  const from = (name, all) => all.slice(Number(url.searchParams.get(name) ?? 0));
  const metrics = lines.map((l) => `${l}\n`).join(""), text = samples.join("");
  return {name: "demo", metrics: {text: from("metrics", metrics), next: metrics.length}, samples: {text: from("samples", text), next: text.length}, running: step < 400};
}

export function serve(port = 0) {
  const profiles = new Map();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, "http://x");
    const answer = (status, body) => {
      response.writeHead(status, {...HEADERS, "content-type": "application/json"});
      response.end(body === undefined ? undefined : JSON.stringify(body));
    };
    let body = "";
    for await (const piece of request) body += piece;
    const record = body ? JSON.parse(body) : null;
    const name = url.pathname.split("/")[3];
    if (url.pathname === "/v1/detect") {
      const one = (r) => detect(r.text);
      return answer(200, Array.isArray(record) ? record.map(one) : one(record));
    }
    if (url.pathname === "/v1/translate") return answer(200, translate(record.instruction, record.from));
    if (url.pathname === "/v1/estimate") return answer(200, estimate(record.texts));
    if (url.pathname === "/v1/rewrite") return rewrite(record, response);
    if (url.pathname === "/v1/profiles") return answer(200, {profiles: [...profiles.values()]});
    if (url.pathname.startsWith("/v1/profiles/") && request.method === "PUT") {
      profiles.set(name, {...record, name});
      return answer(200, profiles.get(name));
    }
    if (url.pathname.startsWith("/v1/profiles/") && request.method === "DELETE") {
      profiles.delete(name);
      return answer(204);
    }
    if (url.pathname === "/v1/runs") return answer(200, {runs: [{name: "demo", updated: Math.floor(Date.now() / 1000)}]});
    if (url.pathname === "/v1/runs/demo") return answer(200, run(url));
    const path = normalize(url.pathname === "/" ? "/index.html" : url.pathname);
    try {
      const content = await readFile(join(APP, path));
      response.writeHead(200, {...HEADERS, "content-type": TYPES[extname(path)] ?? "application/octet-stream"});
      response.end(content);
    } catch {
      answer(404, {error: {message: "there is nothing here"}});
    }
  });
  return new Promise((done) => server.listen(port, "127.0.0.1", () => done({server, url: `http://127.0.0.1:${server.address().port}/`})));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log((await serve(Number(process.argv[2] ?? 8401))).url);
