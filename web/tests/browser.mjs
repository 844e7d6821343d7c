// An installed Chromium driven over its debugging pipe: what a journey needs and no more, so that no package is installed.

import {spawn} from "node:child_process";
import {accessSync, constants, mkdtempSync, rmSync} from "node:fs";
import {tmpdir} from "node:os";
import {delimiter, join} from "node:path";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"];

// The path of a Chromium, or null. VISA_CHROMIUM names one.
export function find() {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const all = [process.env.VISA_CHROMIUM, ...folders.flatMap((f) => NAMES.map((n) => join(f, n)))].filter(Boolean);
  return all.find((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  }) ?? null;
}

export async function open(path) {
  const profile = mkdtempSync(join(tmpdir(), "visa-page-"));
  const child = spawn(path, ["--headless=new", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-dev-shm-usage", "--disable-extensions", "--hide-scrollbars", `--user-data-dir=${profile}`, "about:blank"],
  {stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"]});
  const [, , , to, from] = child.stdio;
  const waiting = new Map();
  const listeners = [];
  let next = 0, rest = "";
  from.setEncoding("utf8");
  from.on("data", (piece) => {
    const messages = (rest + piece).split("\0");
    rest = messages.pop();
    for (const text of messages) {
      const message = JSON.parse(text);
      if (message.id) {
        const {resolve, reject, method} = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.error) reject(new Error(`${method}: ${message.error.message}`));
        else resolve(message.result);
      } else listeners.forEach((l) => l(message));
    }
  });
  child.on("exit", () => waiting.forEach(({reject}) => reject(new Error("the browser ended"))));
  const send = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
    const id = ++next;
    waiting.set(id, {resolve, reject, method});
    to.write(`${JSON.stringify({id, method, params, sessionId})}\0`);
  });
  return {
    page: () => page(send, listeners),
    async close() {
      const ended = new Promise((done) => child.once("exit", done));
      await send("Browser.close").catch(() => child.kill());
      await ended;
      rmSync(profile, {recursive: true, force: true, maxRetries: 5});
    },
  };
}

async function page(send, listeners) {
  const {targetId} = await send("Target.createTarget", {url: "about:blank"});
  const {sessionId} = await send("Target.attachToTarget", {targetId, flatten: true});
  const call = (method, params) => send(method, params, sessionId);
  // What the page complained of: exceptions, console errors, and everything its policy refused.
  const complaints = [];
  let loaded = () => {};
  listeners.push(({method, params, sessionId: from}) => {
    if (from !== sessionId) return;
    if (method === "Page.loadEventFired") loaded();
    if (method === "Runtime.exceptionThrown") complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && params.type === "error") complaints.push(params.args.map((a) => a.value ?? a.description).join(" "));
    if (method === "Log.entryAdded" && params.entry.level === "error") complaints.push(`${params.entry.text} ${params.entry.url ?? ""}`);
  });
  for (const domain of ["Page", "Runtime", "Log"]) await call(`${domain}.enable`);
  const evaluate = async (expression) => {
    const {result, exceptionDetails} = await call("Runtime.evaluate", {expression, awaitPromise: true, returnByValue: true});
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  };
  return {
    complaints, call, evaluate,
    async size(width, height, dark = false) {
      await call("Emulation.setDeviceMetricsOverride", {width, height, deviceScaleFactor: 1, mobile: width < 600});
      await call("Emulation.setEmulatedMedia", {features: [{name: "prefers-color-scheme", value: dark ? "dark" : "light"}, {name: "prefers-reduced-motion", value: "reduce"}]});
    },
    async go(url) {
      const done = new Promise((resolve) => { loaded = resolve; });
      await call("Page.navigate", {url});
      await done;
    },
    // Waits until an expression is true; its value.
    async until(expression, what = expression, ms = 15000) {
      const end = Date.now() + ms;
      for (;;) {
        // A page that is just being left has no answer yet.
        const value = await evaluate(expression).catch((error) => {
          if (!/navigated or closed|context was destroyed|find context/.test(error.message)) throw error;
        });
        if (value) return value;
        if (Date.now() > end) throw new Error(`waited ${ms / 1000} s in vain for: ${what}`);
        await new Promise((again) => setTimeout(again, 25));
      }
    },
    async click(selector) {
      const at = await evaluate(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.scrollIntoView({block: "center"});
        const r = e.getBoundingClientRect(); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()`);
      await this.press(at);
      return at;
    },
    async press({x, y}, to = {x, y}) {
      const event = (type, at, buttons) => call("Input.dispatchMouseEvent", {type, ...at, button: "left", buttons, clickCount: 1});
      await event("mouseMoved", {x, y}, 0);
      await event("mousePressed", {x, y}, 1);
      if (to.x !== x || to.y !== y) await event("mouseMoved", to, 1);
      await event("mouseReleased", to, 0);
    },
    async key(key, code = key, modifiers = 0) {
      const numbers = {Enter: 13, Tab: 9, ArrowUp: 38, ArrowRight: 39, End: 35};
      for (const type of ["rawKeyDown", "keyUp"]) {
        await call("Input.dispatchKeyEvent", {type, key, code, modifiers, windowsVirtualKeyCode: numbers[key]});
      }
    },
    type: (text) => call("Input.insertText", {text}),
    async screenshot(path, full = true) {
      const {writeFileSync} = await import("node:fs");
      const {data} = await call("Page.captureScreenshot", {format: "png", captureBeyondViewport: full});
      writeFileSync(path, Buffer.from(data, "base64"));
    },
  };
}
