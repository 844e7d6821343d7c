// A visitor's way through the pages in an installed Chromium.
//
//   node web/tests/journey.mjs                    against the stand-in server of mock.mjs
//   node web/tests/journey.mjs --url http://…/    against a running visa serve
//   --shots DIR                                   keeps screenshots: two widths, light and dark
//   --require                                     fails where it would skip
//
// Accessibility is checked by axe-core where it is installed (npm install --prefix web).

import assert from "node:assert/strict";
import {spawnSync} from "node:child_process";
import {mkdirSync, readFileSync} from "node:fs";
import {join} from "node:path";
import {find, open} from "./browser.mjs";
import {serve} from "./mock.mjs";

const option = (name) => process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : null;
const required = process.argv.includes("--require");
const shots = option("--shots");
if (shots) mkdirSync(shots, {recursive: true});

const chromium = find();
if (!chromium) {
  console.log(`${required ? "FAILED" : "SKIPPED"}: no Chromium was found; install one, or name it by VISA_CHROMIUM`);
  process.exit(required ? 1 : 0);
}
let axe = null;
try {
  axe = readFileSync(new URL("../node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
} catch {
  console.log(`${required ? "FAILED" : "SKIPPED"}: accessibility by axe; npm install --prefix web brings it`);
  if (required) process.exit(1);
}

const given = option("--url");
const stand = given ? null : await serve();
const base = given ? new URL(given).href : stand.url;
const mock = !given;
const browser = await open(chromium);
const page = await browser.page();

const step = (words) => console.log(`ok  ${words}`);
const text = (selector) => page.evaluate(`document.querySelector(${JSON.stringify(selector)})?.textContent ?? ""`);
const count = (selector) => page.evaluate(`document.querySelectorAll(${JSON.stringify(selector)}).length`);
const chip = (words) => page.evaluate(`[...document.querySelectorAll(".chip")].find((c) => c.textContent === ${JSON.stringify(words)}).click()`);
const fill = async (selector, words) => {
  await page.evaluate(`(() => { const e = document.querySelector(${JSON.stringify(selector)}); e.focus(); e.select?.(); })()`);
  await page.type(words);
};

async function accessible(name) {
  if (!axe) return;
  await page.evaluate(`${axe}; 0`);
  const found = await page.evaluate(`axe.run(document, {resultTypes: ["violations"]}).then((r) => r.violations.map((v) =>
    v.id + " (" + v.impact + "): " + v.help + " – " + v.nodes.slice(0, 3).map((n) => n.target.join(" ") + " " + n.failureSummary.replace(/\\s+/g, " ")).join("; ")))`);
  assert.deepEqual(found, [], `axe on ${name}`);
}

async function everyWay(name) {
  for (const [width, height] of [[1280, 900], [375, 812]]) {
    for (const dark of [false, true]) {
      await page.size(width, height, dark);
      await new Promise((drawn) => setTimeout(drawn, 150));
      const label = `${name}, ${width} px, ${dark ? "dark" : "light"}`;
      const over = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth");
      assert.ok(over <= 0, `${label}: ${over} px wider than the screen`);
      await accessible(label);
      if (shots) await page.screenshot(join(shots, `${name}-${width}-${dark ? "dark" : "light"}.png`));
    }
  }
  await page.size(1280, 900);
  step(`${name}: fits two widths, light and dark${axe ? "; axe finds nothing" : ""}`);
}

async function firstDetection() {
  const times = [];
  for (let i = 0; i < 5; i++) {
    await page.evaluate("localStorage.clear()").catch(() => {});
    await page.go(base);
    await page.until("document.documentElement.dataset.detected === 'yes'", "the first detection");
    times.push(await page.evaluate(`(() => { const mark = performance.getEntriesByName("visa-first-detection")[0].startTime;
      const nav = performance.getEntriesByType("navigation")[0];
      return {load: mark - nav.loadEventStart, start: mark - nav.startTime}; })()`));
  }
  const middle = (key) => times.map((t) => t[key]).sort((a, b) => a - b)[2];
  const words = `first detection ${Math.max(0, middle("load")).toFixed(0)} ms after load, ${middle("start").toFixed(0)} ms after navigation (median of 5)`;
  assert.ok(middle("load") <= 300, words);
  step(words);
}

async function reading() {
  await chip("Grandparents");
  await page.until("document.querySelectorAll('#backdrop mark').length > 0", "marked words");
  assert.match(await text("#reading"), /^The text \S+/);
  assert.ok(await count("#carriers dd") > 0, "the words are listed for those who see no marks");
  step(`a text is read: ${await text("#reading")}`);

  const hostile = '<img src=x onerror="document.title=1"><b>Rules</b> & </textarea><script>document.title=2</script> 東京 🚀 rules';
  await fill("#text", hostile);
  await page.until(`document.querySelector("#backdrop").textContent.startsWith(${JSON.stringify(hostile)})`, "the typed text");
  await page.until("document.querySelector('#reading').textContent.length > 0", "its reading");
  assert.equal(await count("#backdrop img, #backdrop b, #backdrop script, #carriers b, #copy-code b"), 0, "typed text became elements");
  assert.equal(await page.evaluate("document.title"), "VISA playground");
  step("a text is never markup");
}

async function wishing() {
  await chip("Grandparents");
  await fill("#persona", "an adventurous traveller");
  await page.until("document.querySelectorAll('.handle.moved').length > 0", "a wish on the circle");
  assert.match(await text("#wish-note"), /^Asks for /);
  step(`words become a target: ${await text("#wish-note")}`);

  const from = await page.evaluate(`(() => { const r = document.querySelector('.handle[data-value="hedonism"] .grip').getBoundingClientRect();
    scrollTo(0, 0); return {x: r.x + r.width / 2, y: r.y + r.height / 2}; })()`);
  await page.press(from, {x: from.x + 60, y: from.y});
  const dragged = await page.evaluate(`Number(document.querySelector('.handle[data-value="hedonism"]').getAttribute("aria-valuenow"))`);
  assert.ok(dragged > 0.2, `dragging outwards gave ${dragged}`);
  assert.equal(await page.evaluate("document.querySelector('#persona').value"), "");

  await page.evaluate(`document.querySelector('.handle[data-value="benevolence"]').focus()`);
  const slider = `Number(document.querySelector('.handle[data-value="benevolence"]').getAttribute("aria-valuenow"))`;
  const before = await page.evaluate(slider);
  await page.key("ArrowUp");
  assert.ok(Math.abs(await page.evaluate(slider) - before - 0.05) < 0.03, "an arrow key moves a handle by a step");
  await page.key("End");
  assert.equal(await page.evaluate(slider), 1);
  step("the circle is dragged by mouse and keyboard");
}

async function rewriting() {
  await page.key("Enter", "Enter", 2);
  await page.until("document.querySelectorAll('#rounds li').length > 1", "the first round");
  await page.until("!document.querySelector('#outcome').hidden", "the outcome", 120000);
  const outcome = await page.evaluate("document.querySelector('#result').dataset.outcome");
  assert.ok(["rewritten", "kept-original", "unchanged"].includes(outcome), outcome);
  assert.equal(await page.evaluate("document.activeElement.id"), "h-result", "the outcome takes the focus");
  if (mock) assert.equal(outcome, "rewritten");
  if (outcome === "rewritten") {
    assert.ok(await count("#after ins") > 0, "what is new is marked");
    assert.equal(await count("#score dt"), 4);
    const both = await page.evaluate("[document.querySelector('#before').textContent, document.querySelector('#text').value]");
    assert.equal(both[0], both[1]);
  }
  step(`a rewrite: ${outcome}, ${await count("#rounds li")} steps; ${await text("#reason")}`);

  assert.equal(await count("#history li .entry"), 1);
  await page.go(base);
  await page.until("document.documentElement.dataset.detected === 'yes'", "a detection after a reload");
  assert.equal(await count("#history li .entry"), 1);
  await page.click("#history .entry");
  await page.until("!document.querySelector('#outcome').hidden", "the outcome from history");
  step("history outlives a reload and brings the outcome back");
}

async function taking() {
  const forms = {};
  for (const name of ["Command line", "curl", "Python", "TOML profile"]) {
    await page.evaluate(`[...document.querySelectorAll('[role="tab"]')].find((t) => t.textContent === ${JSON.stringify(name)}).click()`);
    forms[name] = await text("#copy-code");
  }
  assert.match(forms["Command line"], /^visa rewrite --target /);
  assert.match(forms["TOML profile"], /\[target\]\nself-direction = /);
  const runs = (command, args, input) => {
    const done = spawnSync(command, args, {input, encoding: "utf8", timeout: 120000, env: {...process.env, PYTHONIOENCODING: "utf-8"}});
    if (done.error?.code === "ENOENT") return `${command} is not here`;
    assert.equal(done.status, 0, `${command}: ${done.stderr}`);
    return done.stdout;
  };
  // The server of this process cannot answer while it waits, so against it the forms are only parsed.
  const python = runs("python3", mock ? ["-c", "import ast, sys; ast.parse(sys.stdin.read())"] : ["-"], forms.Python);
  const shell = runs("bash", mock ? ["-n"] : [], forms.curl);
  if (!mock) {
    assert.match(python, /^(rewritten|kept-original|unchanged) –|is not here/);
    if (!shell.includes("is not here")) assert.ok("outcome" in JSON.parse(shell));
  }
  step(`the forms to copy ${mock ? "parse" : "run"}`);
}

async function keeping() {
  await chip("A timetable");
  await fill("#persona", "a cautious parent who cares about tradition");
  await page.until("document.querySelectorAll('.handle.moved').length > 0", "the wish");
  await page.click("#rewrite");
  await page.until("!document.querySelector('#outcome').hidden", "the outcome", 120000);
  const outcome = await page.evaluate("document.querySelector('#result').dataset.outcome");
  if (mock) assert.equal(outcome, "kept-original");
  if (outcome !== "rewritten") {
    assert.equal(await page.evaluate("document.querySelector('#after').closest('article').hidden"), true);
    assert.ok((await text("#reason")).length > 10);
    await page.click("#longer");
    await page.until("document.querySelector('#outcome').hidden", "the longer search");
    await page.until("!document.querySelector('#outcome').hidden", "its outcome", 240000);
  }
  step(`a text without values: ${outcome}; ${await text("#reason")}`);
}

async function profiles() {
  await page.go(`${base}profile.html`);
  await page.until("document.querySelectorAll('#questions fieldset').length === 20", "twenty statements");
  await page.evaluate(`document.querySelectorAll("#questions fieldset").forEach((f, i) => f.querySelectorAll("input")[(i * 7) % 6].click())`);
  await page.until("!document.querySelector('#ready').hidden", "a profile of the answers");
  assert.match(await text("#reading"), /^This person puts /);
  for (const name of ["journey-one", "journey-two"]) {
    await fill("#name", name);
    await page.click("#keep button");
    await page.until(`document.querySelector("#said").textContent === "Saved as ${name}."`, "saved");
  }
  await page.until("!document.querySelector('#compare').hidden", "two to compare");
  assert.match(await text("#alike"), /^Much alike/);
  step(`twenty answers: ${await text("#reading")}`);
  await everyWay("profiles");
  // Leaves the page, so the click waits until the call has its answer.
  await page.evaluate(`setTimeout(() => [...document.querySelectorAll("#saved .entry")].find((b) => b.textContent.startsWith("journey-one")).click())`);
  await page.until("document.querySelector('#wish-note')?.textContent === 'Saved profile: journey-one.'", "the profile as the wish");
  await page.go(`${base}profile.html`);
  for (const name of ["journey-one", "journey-two"]) {
    await page.until(`document.querySelector('[aria-label="Delete ${name}"]')`, "the saved profile");
    await page.evaluate(`document.querySelector('[aria-label="Delete ${name}"]').click()`);
    await page.until(`!document.querySelector('[aria-label="Delete ${name}"]')`, "its deletion");
  }
  step("a profile is saved, compared, used and deleted");
}

async function fromTexts() {
  await page.go(`${base}profile.html`);
  await page.until("document.querySelectorAll('#questions fieldset').length === 20", "the page");
  await page.evaluate("document.querySelector('#way-texts').click()");
  await page.click("#read");
  assert.match(await text("#texts-note"), /paste a text first/);
  const mine = ["We should honour the customs that our grandparents handed down to us.", "Rules are there to be kept.",
    "My parents\u2019 house must stay as it is.", "The old songs belong to all of us, and we sing them every year."];
  await fill("#texts", mine.join("\n\n"));
  assert.match(await text("#texts-note"), /^4 texts\. More/);
  await page.click("#read");
  await page.until("!document.querySelector('#sure').hidden", "the mean of the texts", 60000);
  assert.match(await text("#sure-words"), /^4 texts are (not )?enough/);
  assert.equal(await count("#sure-table tbody tr"), 10);
  assert.equal(await page.evaluate("[...document.querySelectorAll('#circle .spread')].filter((p) => p.getAttribute('d')).length"), 10);
  assert.match(await text("#reading"), /^These texts /);
  await fill("#name", "journey-texts");
  await page.click("#keep button");
  await page.until("document.querySelector('#said').textContent === 'Saved as journey-texts.'", "saved");
  const kept = await page.evaluate("fetch('v1/profiles').then((r) => r.json()).then((a) => a.profiles.find((p) => p.name === 'journey-texts'))");
  assert.equal(kept.texts, 4);
  assert.equal(Object.keys(kept.uncertainty).length, 10);
  step(`own texts: ${await text("#reading")} ${await text("#sure-words")}`);
  await everyWay("texts");
  await page.evaluate(`document.querySelector('[aria-label="Delete journey-texts"]').click()`);
  await page.until(`!document.querySelector('[aria-label="Delete journey-texts"]')`, "its deletion");

  await page.evaluate("document.querySelector('#way-words').click()");
  await fill("#words", "a cautious parent who cares about tradition");
  await page.click("#describe button");
  await page.until("!document.querySelector('#by-words').hidden && /^This person puts/.test(document.querySelector('#reading').textContent)", "a profile of the words");
  step(`words: ${await text("#reading")}`);
}

async function training() {
  const watched = (await fetch(`${base}v1/runs`)).ok;
  await page.go(`${base}training.html`);
  if (!watched) {
    await page.until("document.querySelector('#state').textContent.includes('watches no folder')", "the word that nothing is watched");
    // The server's 404 is told on the page, and by the browser in its console.
    page.complaints.splice(0);
    console.log("SKIPPED: live curves; start the server with --runs DIR");
  } else {
    await page.until("document.querySelectorAll('#charts figure').length > 0", "curves");
    const first = await text("#state");
    if (mock) {
      await page.until(`document.querySelector("#state").textContent !== ${JSON.stringify(first)}`, "the run going on");
      await page.until("document.querySelector('#samples').textContent.includes('<b>children</b>')", "a sample, as text");
      assert.equal(await count("#samples b"), 0);
    }
    step(`a training is followed: ${first} → ${await text("#state")}`);
  }
  await everyWay("training");
}

let failed = false;
try {
  await page.size(1280, 900);
  await firstDetection();
  await reading();
  await wishing();
  await rewriting();
  await taking();
  await everyWay("playground");
  await keeping();
  await profiles();
  await fromTexts();
  await training();
  assert.deepEqual(page.complaints, [], "the browser complained");
  step("no error, and nothing the content security policy refused");
} catch (error) {
  failed = true;
  console.log(`FAILED: ${error.message}`);
  if (page.complaints.length) console.log(`the browser said: ${page.complaints.join("\n")}`);
  if (shots) await page.screenshot(join(shots, "failed.png")).catch(() => {});
} finally {
  await browser.close();
  stand?.server.close();
}
process.exit(failed ? 1 : 0);
