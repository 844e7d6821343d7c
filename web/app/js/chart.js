// A line chart of one measure: steps across, values up; the last value is said in words too.

import {h, s} from "./dom.js";

const W = 360, H = 190, LEFT = 46, RIGHT = 10, TOP = 10, BOTTOM = 24;
const NICE = [1, 2, 2.5, 5, 10];

export const short = (x) => {
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (size >= 1e6) return `${+(x / 1e6).toFixed(1)}M`;
  if (size >= 1e4) return `${+(x / 1e3).toFixed(1)}k`;
  if (size >= 100) return x.toFixed(0);
  if (size >= 0.01) return String(+x.toFixed(3));
  return x.toExponential(1);
};

// Round numbers from low to high, about `count` of them.
export function ticks(low, high, count = 4) {
  if (!(high > low)) return [low];
  const raw = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = NICE.find((n) => n * power >= raw) * power;
  const out = [];
  for (let x = Math.ceil(low / step) * step; x <= high + step * 1e-9; x += step) out.push(+x.toPrecision(12));
  return out;
}

// Exponential mean with its start corrected.
export function smoothed(points, weight = 0.9) {
  let mean = 0, seen = 0;
  return points.map(([x, y]) => {
    mean = weight * mean + (1 - weight) * y;
    seen = weight * seen + (1 - weight);
    return [x, mean / seen];
  });
}

// At most `most` points: of each stretch the lowest and the highest, so that no spike is lost.
export function thin(points, most = 600) {
  if (points.length <= most) return points;
  const size = Math.ceil(points.length / (most / 2));
  const out = [];
  for (let i = 0; i < points.length; i += size) {
    const part = points.slice(i, i + size);
    const low = part.reduce((a, b) => b[1] < a[1] ? b : a), high = part.reduce((a, b) => b[1] > a[1] ? b : a);
    out.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return out;
}

// lines: [{kind: "train" | "eval", points: [[step, value]]}].
export function chart(name, lines, smooth) {
  const points = lines.flatMap((l) => l.points);
  const xs = points.map((p) => p[0]), ys = points.map((p) => p[1]);
  const bounds = (list) => list.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
  const [x0, x1] = bounds(xs);
  let [y0, y1] = bounds(ys);
  if (y0 === y1) [y0, y1] = [y0 - (Math.abs(y0) || 1) * 0.05, y1 + (Math.abs(y1) || 1) * 0.05];
  const x = (v) => LEFT + (x1 === x0 ? 0.5 : (v - x0) / (x1 - x0)) * (W - LEFT - RIGHT);
  const y = (v) => H - BOTTOM - (v - y0) / (y1 - y0) * (H - BOTTOM - TOP);
  const line = (list) => list.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join("");
  const said = lines.map((l) => `${l.kind} ${short(l.points.at(-1)[1])} at step ${l.points.at(-1)[0]}`).join(", ");
  const svg = s("svg", {viewBox: `0 0 ${W} ${H}`, class: "chart", role: "img", "aria-label": `${name}: ${said}`},
    ticks(y0, y1).map((v) => [s("line", {class: "grid", x1: LEFT, x2: W - RIGHT, y1: y(v), y2: y(v)}),
      s("text", {x: LEFT - 6, y: y(v) + 3.5, "text-anchor": "end"}, short(v))]).flat(),
    ticks(x0, x1).map((v) => s("text", {x: x(v), y: H - 7, "text-anchor": "middle"}, short(v))),
    lines.map((l) => {
      const softened = smooth && l.kind === "train" && l.points.length > 20;
      return [softened && s("path", {class: `line raw ${l.kind}`, d: line(thin(l.points))}),
        s("path", {class: `line ${l.kind}`, d: line(thin(softened ? smoothed(l.points) : l.points))}),
        l.kind === "eval" && l.points.length < 60 && l.points.map(([a, b]) => s("circle", {class: "line eval", cx: x(a), cy: y(b), r: 2.2}))];
    }).flat(2));
  return h("figure", {}, h("figcaption", {}, h("strong", {}, name.replaceAll("_", " ")), h("span", {class: "note"}, said)), svg);
}
