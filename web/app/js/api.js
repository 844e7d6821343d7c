// The server's native API. Every failure is an Error whose message a person can act on.

import {h} from "./dom.js";

let key = "";
try {
  key = sessionStorage.getItem("visa.key") ?? "";
} catch { /* the key is asked for again */ }

async function call(method, path, body, {signal, accept = "application/json"} = {}) {
  const headers = {accept};
  if (body !== undefined) headers["content-type"] = "application/json";
  if (key) headers.authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, {method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body)});
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer. Is visa serve still running?");
  }
  if (response.status === 401 && await askKey()) return call(method, path, body, {signal, accept});
  if (!response.ok) throw await failure(response);
  return response;
}

async function failure(response) {
  let message = `the server answered ${response.status}`;
  try {
    const body = await response.json();
    message = body?.error?.message ?? body?.error ?? message;
  } catch { /* not JSON: the status says it */ }
  const error = new Error(message);
  error.status = response.status;
  error.retryAfter = Number(response.headers.get("retry-after")) || 0;
  return error;
}

// Asks once, however many calls wait for it. The key lives as long as the tab.
let asking = null;
function askKey() {
  asking ??= new Promise((resolve) => {
    const input = h("input", {type: "password", id: "key", autocomplete: "off", required: true});
    const dialog = h("dialog", {"aria-labelledby": "key-title"},
      h("form", {method: "dialog"},
        h("h2", {id: "key-title"}, "This server wants a key"),
        h("label", {for: "key"}, "Key"), input,
        h("p", {class: "note"}, "Kept until this tab is closed."),
        h("div", {class: "row actions"}, h("button", {class: "main", value: "yes"}, "Use it"),
          h("button", {value: "no", formnovalidate: true}, "Not now"))));
    dialog.addEventListener("close", () => {
      asking = null;
      dialog.remove();
      const given = dialog.returnValue === "yes" && input.value.trim() !== "";
      if (given) {
        key = input.value.trim();
        try {
          sessionStorage.setItem("visa.key", key);
        } catch { /* asked again after a reload */ }
      }
      resolve(given);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
  return asking;
}

const json = async (...call_) => (await call(...call_)).json();

export const detect = (record, signal) => json("POST", "v1/detect", record, {signal});
// The words that carry the values cost about two passes a clause, so they are asked for apart.
export const spans = async (record, signal) => (await json("POST", "v1/detect?spans=true", record, {signal})).spans ?? [];
export const translate = (instruction, from, signal) => json("POST", "v1/translate", {instruction, from}, {signal});
export const estimate = (texts, signal) => json("POST", "v1/estimate", {texts}, {signal});
export const models = () => json("GET", "v1/models");
export const profiles = async () => (await json("GET", "v1/profiles")).profiles ?? [];
export const putProfile = (name, profile) => json("PUT", `v1/profiles/${encodeURIComponent(name)}`, profile);
export const deleteProfile = (name) => call("DELETE", `v1/profiles/${encodeURIComponent(name)}`);
export const runs = async () => (await json("GET", "v1/runs")).runs ?? [];
export const run = (name, metrics, samples) =>
  json("GET", `v1/runs/${encodeURIComponent(name)}?metrics=${metrics}&samples=${samples}`);

// Yields {event, data} of a rewrite until it is done. `search` holds options of the query, such as {rounds: 6}.
export async function* rewrite(record, signal, search = {}) {
  const query = new URLSearchParams(search).toString();
  const response = await call("POST", `v1/rewrite${query ? `?${query}` : ""}`, record, {signal, accept: "text/event-stream"});
  yield* events(response.body);
}

// Server-sent events from a body, cut anywhere.
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const {done, value} = await reader.read();
    rest += (value ?? "").replaceAll("\r", "");
    const blocks = rest.split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = parse(block);
      if (event) yield event;
    }
    if (done) return;
  }
}

// One event; a comment alone is none.
export function parse(block) {
  let event = "message";
  const data = [];
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length ? {event, data: JSON.parse(data.join("\n"))} : null;
}
