// Spans of the detector: bytes of UTF-8 made characters, and several values of one clause brought together.

import {NAMES} from "./values.js";

// Byte offsets → offsets of the string, for sorted or unsorted offsets; one inside a character goes to its start.
export function places(text, bytes) {
  const wanted = [...new Set(bytes)].sort((a, b) => a - b);
  const found = new Map();
  let byte = 0, next = 0;
  for (let i = 0; i < text.length && next < wanted.length;) {
    const code = text.codePointAt(i);
    const units = code > 0xffff ? 2 : 1;
    const size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    while (next < wanted.length && wanted[next] < byte + size) found.set(wanted[next++], i);
    byte += size;
    i += units;
  }
  while (next < wanted.length) found.set(wanted[next++], text.length);
  return found;
}

// Clauses in text order: {start, end, values: [{value, weight}] strongest first}. Clauses do not overlap.
export function clauses(text, spans) {
  const at = places(text, spans.flatMap((s) => [s.start, s.end]));
  const all = new Map();
  for (const span of spans) {
    if (!NAMES.includes(span.value)) continue;
    const [start, end] = [at.get(span.start), at.get(span.end)];
    if (start >= end) continue;
    const place = `${start} ${end}`;
    if (!all.has(place)) all.set(place, {start, end, values: []});
    all.get(place).values.push({value: span.value, weight: span.weight});
  }
  let last = 0;
  const sorted = [...all.values()].sort((a, b) => a.start - b.start || b.end - a.end);
  return sorted.filter((c) => {
    if (c.start < last) return false;
    last = c.end;
    c.values.sort((a, b) => Math.abs(b.weight) - Math.abs(a.weight));
    return true;
  });
}

// Clauses of an old text in the new one, until it is read: those before and behind the edit stay, those it touches go.
export function carry(before, after, list) {
  let head = 0;
  const most = Math.min(before.length, after.length);
  while (head < most && before[head] === after[head]) head++;
  let tail = 0;
  while (tail < most - head && before.at(-1 - tail) === after.at(-1 - tail)) tail++;
  const moved = after.length - before.length;
  return list.flatMap((c) => c.end <= head ? [c]
    : c.start >= before.length - tail ? [{...c, start: c.start + moved, end: c.end + moved}] : []);
}

// The text as pieces: {text, clause} with clause null between clauses.
export function pieces(text, list) {
  const out = [];
  let at = 0;
  for (const clause of list) {
    if (clause.start > at) out.push({text: text.slice(at, clause.start), clause: null});
    out.push({text: text.slice(clause.start, clause.end), clause});
    at = clause.end;
  }
  if (at < text.length) out.push({text: text.slice(at), clause: null});
  return out;
}
