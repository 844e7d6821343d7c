// Numbers in words. The bounds of meaning and progress are those of the command line.

import {NAMES, SILENT, signed, ten} from "./values.js";

const list = (items) => items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;

// "embraces", "rejects": how strongly one value is spoken.
export function strength(x) {
  const size = Math.abs(x);
  if (size < SILENT) return "is silent about it";
  const how = size < 0.2 ? "faintly" : size < 0.5 ? "clearly" : "strongly";
  return `${how} ${x > 0 ? "embraces" : "rejects"} it`;
}

// A profile in a sentence; `s` is the ending of its verbs, none for several texts.
export function profile(values, s = "s") {
  const all = ten(values).map((x, i) => ({name: NAMES[i], x})).sort((a, b) => Math.abs(b.x) - Math.abs(a.x));
  const loud = all.filter((v) => Math.abs(v.x) >= 0.12).slice(0, 4);
  const up = loud.filter((v) => v.x > 0).map((v) => v.name);
  const down = loud.filter((v) => v.x < 0).map((v) => v.name);
  if (!up.length && !down.length) {
    const faint = all.filter((v) => v.x >= SILENT).slice(0, 2).map((v) => v.name);
    return faint.length ? `Hardly speak${s} of values; faintly of ${list(faint)}.` : `Speak${s} of no value.`;
  }
  const parts = [];
  if (up.length) parts.push(`speak${s} ${up.length > 1 ? "mostly " : ""}${list(up)}`);
  if (down.length) parts.push(`reject${s} ${list(down)}`);
  const text = parts.join(", and ");
  return `${text[0].toUpperCase()}${text.slice(1)}.`;
}

// A person's profile in a sentence: what goes first and what last, since answers are centred.
export function person(values) {
  const all = ten(values).map((x, i) => ({name: NAMES[i], x})).sort((a, b) => b.x - a.x);
  const first = all.filter((v) => v.x >= 0.12).slice(0, 3).map((v) => v.name);
  const last = all.filter((v) => v.x <= -0.12).slice(-2).reverse().map((v) => v.name);
  if (!first.length && !last.length) return "No value goes before another.";
  const parts = [first.length && `puts ${list(first)} first`, last.length && `${list(last)} last`].filter(Boolean);
  return `This person ${first.length ? "" : "puts "}${parts.join(", ")}.`;
}

// A person's texts in a sentence: only what is loud, and beyond its own uncertainty.
export function texts(values, uncertainty) {
  const known = Object.fromEntries(NAMES.map((n) => [n, Math.abs(values[n] ?? 0) > (uncertainty?.[n] ?? 0) ? values[n] ?? 0 : 0]));
  const all = profile(known, "");
  return `These texts ${all[0].toLowerCase()}${all.slice(1)}`;
}

// Texts of a field: an empty line stands between two.
export const paragraphs = (text) => text.replaceAll("\r", "").split(/\n[ \t]*\n+/).map((t) => t.trim()).filter(Boolean);

// A shift in a sentence: what a wish asks for.
export function shift(values) {
  const all = ten(values).map((x, i) => ({name: NAMES[i], x})).filter((v) => Math.abs(v.x) >= SILENT);
  all.sort((a, b) => Math.abs(b.x) - Math.abs(a.x));
  const how = (v) => `${Math.abs(v.x) >= 0.7 ? "much " : Math.abs(v.x) < 0.35 ? "a little " : ""}${v.x > 0 ? "more" : "less"} ${v.name}`;
  return all.length ? list(all.map(how)) : "no change";
}

export function meaning(mean) {
  if (mean >= 0.85) return "kept";
  if (mean >= 0.6) return "mostly kept";
  if (mean > 0.3) return "loosely kept";
  return "not kept";
}

export function directions(forward, backward) {
  const fresh = forward < 0.6, gone = backward < 0.6;
  if (fresh && gone) return "Something is new and something is missing.";
  if (fresh) return "Something is said that the original does not say.";
  if (gone) return "Something the original says is missing.";
  return "Each says what the other says.";
}

export function progress(x) {
  const percent = Math.round(x * 100);
  if (percent >= 95) return "at the target";
  if (percent >= 1) return `${percent} % of the way to the target`;
  if (percent > -1) return "not moved";
  return `${-percent} % further from the target`;
}

// A score as rows of {name, words, detail, share}; share is 0…1 for a bar, or null.
export function score(score) {
  const {value, consistency, guards, total} = score;
  const rows = [
    {name: "Meaning", words: meaning(consistency.mean), share: consistency.mean,
      detail: `${directions(consistency.forward, consistency.backward)} Entailment forward ${consistency.forward.toFixed(2)}, backward ${consistency.backward.toFixed(2)}.`},
    {name: "Values", words: progress(value.progress), share: Math.max(0, Math.min(1, value.progress)),
      detail: `Distance left ${value.l2.toFixed(2)}; the movement agrees with the wish by ${signed(value.movement)} of 1.`},
    {name: "Facts", words: guards.length ? "something changed that must not" : "intact", share: null,
      detail: guards.length ? guards.map((g) => g.detail).join("; ")
        : "Numbers, dates, names, negations, quotations, addresses and code are as they were."},
    {name: "Total", words: `${total.toFixed(2)} of 1`, share: total,
      detail: "Half for the values, half for the meaning; 0 when a fact has changed."},
  ];
  return rows;
}
