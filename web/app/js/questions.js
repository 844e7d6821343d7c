// Answers as values, as the visa-align crate scores them: a person's mean over all answers is taken from the mean of each
// value, half the scale's width is made 1, and more is clipped.

import {NAMES, clip, fromTen} from "./values.js";

const FULL = 2.5;

export function profile(items, answers) {
  const mean = (list) => list.reduce((a, b) => a + b, 0) / list.length;
  const all = mean(answers);
  return fromTen(NAMES.map((name) => clip((mean(answers.filter((_, i) => items[i].value === name)) - all) / FULL)));
}

// How alike two profiles are.
export function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  const [na, nb] = [Math.sqrt(dot(a, a)), Math.sqrt(dot(b, b))];
  if (na === 0 && nb === 0) return 1;
  if (na === 0 || nb === 0) return 0;
  return Math.max(-1, Math.min(1, dot(a, b) / na / nb));
}
