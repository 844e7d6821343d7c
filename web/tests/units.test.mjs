// What the page computes by itself, without a browser: node --test web/tests/units.test.mjs

import assert from "node:assert/strict";
import {readFileSync} from "node:fs";
import test from "node:test";
import {events, parse} from "../app/js/api.js";
import {smoothed, thin, ticks} from "../app/js/chart.js";
import {diff, words} from "../app/js/diff.js";
import {Log, samples} from "../app/js/log.js";
import {profile} from "../app/js/questions.js";
import {carry, clauses, pieces, places} from "../app/js/spans.js";
import {FORMS, record, toml, tomlString} from "../app/js/take.js";
import {signed} from "../app/js/values.js";
import * as say from "../app/js/words.js";

test("a diff gives both texts back, whatever they are", () => {
  const check = (a, b) => {
    const pieces = diff(a, b);
    const side = (other) => pieces.filter((p) => p.kind !== other).map((p) => p.text).join("");
    assert.equal(side("new"), a);
    assert.equal(side("gone"), b);
  };
  check("", "");
  check("a", "");
  check("", "a b");
  check("The cat sat.", "The dog sat down.");
  check("a b c d e", "a x b y c z d e");
  check("naïve – 東京 e\u0301\n\nend", "naïve, 京都 e\n\nthe end");
  let seed = 7;
  const random = (n) => (seed = (seed * 48271) % 2147483647) % n;
  for (let i = 0; i < 300; i++) {
    const text = () => Array.from({length: random(25)}, () => "ab ,"[random(4)].repeat(1 + random(2))).join("");
    check(text(), text());
  }
});

test("a diff is short, and names what changed", () => {
  assert.deepEqual(diff("We keep the park.", "We keep the old park."),
    [{kind: "same", text: "We keep the "}, {kind: "new", text: "old "}, {kind: "same", text: "park."}]);
  assert.deepEqual(diff("one two three", "four five three"),
    [{kind: "gone", text: "one two"}, {kind: "new", text: "four five"}, {kind: "same", text: " three"}]);
  const a = Array.from({length: 4000}, (_, i) => `a${i}`).join(" "), b = a.replaceAll("a", "b");
  assert.equal(diff(a, b), null);
  assert.deepEqual(words("don’t stop"), ["don’t", " ", "stop"]);
});

test("bytes become characters", () => {
  const check = (text, part) => {
    const start = Buffer.byteLength(text.slice(0, text.indexOf(part))), end = start + Buffer.byteLength(part);
    const at = places(text, [start, end]);
    assert.equal(text.slice(at.get(start), at.get(end)), part);
  };
  check("plain text", "text");
  check("é 東京 🚀 end", "🚀");
  check("é 東京 🚀 end", "end");
  check("🚀", "🚀");
  assert.equal(places("é", [1]).get(1), 0);
  assert.equal(places("a", [9]).get(9), 1);
});

test("spans become clauses that do not overlap, and pieces that make the text", () => {
  const text = "Rules are good, and fun is bad.";
  const span = (start, end, value, weight) => ({start, end, value, weight});
  const found = clauses(text, [span(0, 15, "conformity", 0.3), span(0, 15, "security", -0.5), span(20, 31, "hedonism", -0.2),
    span(10, 18, "power", 0.9), span(4, 4, "power", 0.9), span(0, 15, "no value", 1)]);
  assert.deepEqual(found.map((c) => [c.start, c.end, c.values.map((v) => v.value)]),
    [[0, 15, ["security", "conformity"]], [20, 31, ["hedonism"]]]);
  assert.equal(pieces(text, found).map((p) => p.text).join(""), text);
});

test("marks follow an edit until the text is read again", () => {
  const list = [{start: 0, end: 3}, {start: 4, end: 7}, {start: 8, end: 13}];
  const check = (after, expected) =>
    assert.deepEqual(carry("one two three", after, list).map((c) => after.slice(c.start, c.end)), expected);
  check("one two three", ["one", "two", "three"]);
  check("one twoo three", ["one", "two", "three"]);
  check("one tXwo three", ["one", "three"]);
  check("XX one two three", ["one", "two", "three"]);
  // The first t of "three" may be that of "two": what is unsure goes.
  check("one three", ["one"]);
  check("", []);
  check("quite another", []);
});

test("events are read however they are cut", async () => {
  const text = ": hello\n\nevent: asking\ndata: {\"round\":1}\n\nevent: outcome\r\ndata: {\"a\":\r\ndata: \"ü\"}\r\n\r\n";
  const bytes = new TextEncoder().encode(text);
  for (let size = 1; size < bytes.length; size += 3) {
    const body = new ReadableStream({start(c) {
      for (let i = 0; i < bytes.length; i += size) c.enqueue(bytes.slice(i, i + size));
      c.close();
    }});
    const all = [];
    for await (const event of events(body)) all.push(event);
    assert.deepEqual(all, [{event: "asking", data: {round: 1}}, {event: "outcome", data: {a: "ü"}}]);
  }
  assert.equal(parse(": comment"), null);
});

test("answers are scored as the crate scores them", () => {
  const {items} = JSON.parse(readFileSync(new URL("../app/data/questionnaire.json", import.meta.url)));
  const of = (f) => profile(items, items.map((i) => f(i.value)));
  const near = (a, b) => assert.ok(Math.abs(a - b) < 1e-9, `${a} ${b}`);
  near(of(() => 6).power, 0);
  near(of((v) => v === "tradition" ? 6 : 1).tradition, 1);
  near(of((v) => v === "tradition" ? 6 : 1).power, -0.2);
  near(of((v) => v === "tradition" ? 4 : 3).tradition, 0.36);
});

test("what is copied says the same everywhere", () => {
  const hostile = "It's \"quoted\" \\ $HOME `id`\nnew";
  const wish = {target: {tradition: 0.8, power: -0.5}};
  assert.equal(record(hostile, wish).target.power, -0.5);
  assert.equal(Object.keys(record(hostile, wish).target).length, 10);
  assert.match(FORMS["Command line"]("x", wish), /--target 'power=-0\.50, tradition=\+0\.80' 'x'/);
  assert.match(FORMS["Command line"](hostile, {words: "a b"}), /--persona 'a b' 'It'\\''s/);
  assert.equal(tomlString("a\"b\\c\n\u0001"), "\"a\\\"b\\\\c\\n\\u0001\"");
  assert.match(toml({name: "x", target: wish.target}), /^name = "x"\n\n\[target\]\nself-direction = 0\.00\n/);
});

test("logs are read line by line and samples by step", () => {
  const log = new Log();
  log.add('{"kind":"train","step":1,"loss":2}\n{"kind":"eval","step":1,"loss":3,"f1":0.5}\nbroken\n{"step":"x"}\n');
  log.add('{"kind":"train","step":2,"loss":null}\n{"step":3,"loss":1}\n');
  assert.deepEqual(log.measures.get("loss").get("train"), [[1, 2], [3, 1]]);
  assert.deepEqual([log.bad, log.step, [...log.measures.keys()]], [2, 3, ["loss", "f1"]]);
  assert.deepEqual(samples("== step 100\na\nb\n\n== step 200\nc\n"), [{step: 100, text: "a\nb"}, {step: 200, text: "c"}]);
});

test("charts have round numbers and lose no spike", () => {
  assert.deepEqual(ticks(0, 1), [0, 0.25, 0.5, 0.75, 1]);
  assert.deepEqual(ticks(0.13, 0.47, 3), [0.2, 0.4]);
  const points = Array.from({length: 10000}, (_, i) => [i, i === 7777 ? 9 : 0]);
  const few = thin(points);
  assert.ok(few.length <= 650 && few.some((p) => p[1] === 9));
  assert.deepEqual(smoothed([[1, 4], [2, 4]]).map((p) => +p[1].toFixed(9)), [4, 4]);
});

test("texts are paragraphs, and only what is sure is said of them", () => {
  assert.deepEqual(say.paragraphs("a\nb\r\n\r\n \n\n c \n"), ["a\nb", "c"]);
  assert.deepEqual(say.paragraphs("  \n"), []);
  assert.equal(say.texts({tradition: 0.6, power: -0.3, security: 0.2}, {tradition: 0.1, power: 0.1, security: 0.3}),
    "These texts speak tradition, and reject power.");
  assert.equal(say.texts({power: -0.3}, null), "These texts reject power.");
  assert.equal(say.texts({}, {}), "These texts speak of no value.");
  assert.match(toml({target: {power: 1}, uncertainty: {power: 0.25}, texts: 9}), /^texts = 9\n\n\[target\][^]*\n\n\[uncertainty\]\n[^]*power = 0\.25/);
});

test("numbers have words", () => {
  assert.equal(say.progress(0.42), "42 % of the way to the target");
  assert.equal(say.progress(0.99), "at the target");
  assert.equal(say.progress(-0.3), "30 % further from the target");
  assert.equal(say.meaning(0.7), "mostly kept");
  assert.equal(say.profile({tradition: 0.6, power: -0.3}), "Speaks tradition, and rejects power.");
  assert.equal(say.profile({}), "Speaks of no value.");
  assert.equal(say.shift({security: 0.8, hedonism: -0.2}), "much more security and a little less hedonism");
  assert.equal(say.person({tradition: 0.6, power: -0.3}), "This person puts tradition first, power last.");
  assert.equal([signed(-0.5), signed(0.001), signed(1)].join(), "\u22120.50,0,+1.00");
});
