// Schwartz's circle as SVG: a wedge a value, outwards for what a text embraces, inwards for what it rejects, and one
// handle a value that says what is wanted. Handles are sliders for keyboard and screen reader.

import {h, s} from "./dom.js";
import {ABOUT, ARCS, NAMES, angle, clip, fromTen, signed, ten, zero} from "./values.js";

const INNER = 34, MIDDLE = 98, OUTER = 188, LABEL = 208, ARC = 238;
const HALF = 16.6;

const radius = (v) => MIDDLE + (v > 0 ? v * (OUTER - MIDDLE) : v * (MIDDLE - INNER));
const value = (r) => clip(r > MIDDLE ? (r - MIDDLE) / (OUTER - MIDDLE) : (r - MIDDLE) / (MIDDLE - INNER));

// Degrees clockwise from the top.
function point(r, degrees) {
  const turn = (degrees - 90) * Math.PI / 180;
  return [r * Math.cos(turn), r * Math.sin(turn)].map((x) => x.toFixed(2)).join(" ");
}

function ring(from, to, inner, outer) {
  const large = to - from > 180 ? 1 : 0;
  return `M${point(inner, from)} L${point(outer, from)} A${outer} ${outer} 0 ${large} 1 ${point(outer, to)} L${point(inner, to)} A${inner} ${inner} 0 ${large} 0 ${point(inner, from)}Z`;
}

// An arc to write on: on the lower half it runs backwards, so that the letters stand upright.
function path(from, to, r) {
  const middle = (from + to) / 2;
  const below = middle > 95 && middle < 265;
  const large = to - from > 180 ? 1 : 0;
  return below ? `M${point(r + 11, to)} A${r + 11} ${r + 11} 0 ${large} 0 ${point(r + 11, from)}`
    : `M${point(r, from)} A${r} ${r} 0 ${large} 1 ${point(r, to)}`;
}

const wedge = (i, v) => {
  const r = radius(v);
  return ring(angle(i) - HALF, angle(i) + HALF, Math.min(r, MIDDLE), Math.max(r, MIDDLE));
};

// How far a mean may be off: a line along the spoke with a bar at each end.
function whisker(degrees, v, half) {
  const ends = [clip(v - half), clip(v + half)].map(radius);
  const bar = (r) => `M${point(r, degrees - 360 / r)} L${point(r, degrees + 360 / r)}`;
  return `M${point(ends[0], degrees)} L${point(ends[1], degrees)} ${bar(ends[0])} ${bar(ends[1])}`;
}

let count = 0;

// Draws into `root`. `on.want(profile)` hears of dragging, `on.focus(name | null)` of the value looked at; without
// `on.want` there are no handles. Answers {show, look}.
export function circle(root, on = {}) {
  const id = `circle${++count}`;
  const state = {before: zero(), after: null, target: null, uncertainty: null, focus: null};
  const svg = s("svg", {viewBox: "-262 -262 524 524", class: "circle",
    role: on.want ? "group" : "img", "aria-label": "Circle of ten values"});
  const defs = s("defs");
  svg.append(defs);

  for (const [share, kind] of [[1, "outer"], [0.5, "half"], [0, "zero"], [-1, "inner"]]) {
    svg.append(s("circle", {r: radius(share), class: `ring ${kind}`}));
  }
  ARCS.forEach(([name, from, to], i) => {
    defs.append(s("path", {id: `${id}a${i}`, d: path(from, to, ARC)}));
    svg.append(s("path", {class: "arc", d: `M${point(ARC - 5, from + 1.5)} A${ARC - 5} ${ARC - 5} 0 0 1 ${point(ARC - 5, to - 1.5)}`}),
      s("text", {class: "arc-name", "aria-hidden": "true"}, s("textPath", {href: `#${id}a${i}`, startOffset: "50%", "text-anchor": "middle"}, name)));
  });

  const sectors = NAMES.map((name, i) => {
    defs.append(s("path", {id: `${id}n${i}`, d: path(angle(i) - 18, angle(i) + 18, LABEL)}));
    const parts = {
      field: s("path", {class: "field", d: ring(angle(i) - 18, angle(i) + 18, INNER, LABEL + 16)}),
      before: s("path", {class: "wedge before"}),
      after: s("path", {class: "wedge after"}),
      spread: s("path", {class: "spread"}),
      want: s("path", {class: "want"}),
      name: s("text", {class: "name", "aria-hidden": "true"},
        s("textPath", {href: `#${id}n${i}`, startOffset: "50%", "text-anchor": "middle"}, name)),
    };
    parts.group = s("g", {class: "sector", "data-value": name},
      parts.field, parts.before, parts.after, parts.spread, parts.want, parts.name);
    parts.group.addEventListener("pointerenter", () => look(name));
    parts.group.addEventListener("pointerleave", () => look(null));
    svg.append(parts.group);
    return parts;
  });

  const handles = on.want ? NAMES.map((name, i) => handle(name, i)) : [];
  svg.append(...handles);
  root.replaceChildren(svg);
  draw();

  function handle(name, i) {
    const group = s("g", {class: "handle", "data-value": name, tabindex: 0, role: "slider",
      "aria-label": `${name}: ${ABOUT[name]}`, "aria-valuemin": -1, "aria-valuemax": 1, "aria-orientation": "vertical"},
    s("circle", {r: 20, class: "grip"}), s("circle", {r: 7, class: "dot"}));
    group.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      group.focus();
      group.setPointerCapture(event.pointerId);
      group.classList.add("held");
    });
    group.addEventListener("pointermove", (event) => {
      if (!group.hasPointerCapture(event.pointerId)) return;
      const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const turn = (angle(i) - 90) * Math.PI / 180;
      set(i, Math.round(value(at.x * Math.cos(turn) + at.y * Math.sin(turn)) * 20) / 20);
    });
    const release = () => group.classList.remove("held");
    group.addEventListener("pointerup", release);
    group.addEventListener("pointercancel", release);
    group.addEventListener("keydown", (event) => {
      const now = wanted()[i];
      const steps = {ArrowUp: 0.05, ArrowRight: 0.05, ArrowDown: -0.05, ArrowLeft: -0.05, PageUp: 0.25, PageDown: -0.25};
      let to = null;
      if (event.key in steps) to = Math.round((now + steps[event.key]) * 20) / 20;
      else if (event.key === "Home") to = -1;
      else if (event.key === "End") to = 1;
      else if (event.key === "Delete" || event.key === "Backspace") to = ten(state.before)[i];
      if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      set(i, to);
    });
    group.addEventListener("focus", () => look(name));
    group.addEventListener("blur", () => look(null));
    group.addEventListener("pointerenter", () => look(name));
    group.addEventListener("pointerleave", () => document.activeElement !== group && look(null));
    return group;
  }

  function wanted() {
    return ten(state.target ?? state.before);
  }

  function set(i, to) {
    const numbers = wanted();
    numbers[i] = clip(to);
    state.target = fromTen(numbers);
    draw();
    on.want(state.target);
  }

  function look(name) {
    if (state.focus === name) return;
    state.focus = name;
    svg.classList.toggle("looking", name !== null);
    for (const part of svg.querySelectorAll("[data-value]")) {
      part.classList.toggle("looked", part.dataset.value === name);
    }
    on.focus?.(name);
  }

  function draw() {
    const [before, want] = [ten(state.before), wanted()];
    const after = state.after && ten(state.after);
    svg.classList.toggle("compares", after !== null);
    sectors.forEach((sector, i) => {
      sector.before.setAttribute("d", wedge(i, before[i]));
      sector.after.setAttribute("d", after ? wedge(i, after[i]) : "");
      const moved = state.target && Math.abs(want[i] - before[i]) >= 0.025;
      const r = radius(want[i]);
      sector.want.setAttribute("d", moved
        ? `M${point(r, angle(i) - HALF)} A${r} ${r} 0 0 1 ${point(r, angle(i) + HALF)}` : "");
      const half = state.uncertainty?.[NAMES[i]];
      sector.spread.setAttribute("d", half === undefined || state.target ? "" : whisker(angle(i), before[i], half));
      const handle = handles[i];
      if (!handle) return;
      handle.setAttribute("transform", `translate(${point(r, angle(i))})`);
      handle.classList.toggle("moved", Boolean(moved));
      handle.setAttribute("aria-valuenow", want[i].toFixed(2));
      handle.setAttribute("aria-valuetext", `${state.target ? `wanted ${signed(want[i])}, ` : ""}the text has ${signed(before[i])}`);
    });
    if (!on.want) {
      svg.setAttribute("aria-label", `Circle of ten values: ${NAMES.map((n, i) => `${n} ${signed((after ?? before)[i])}`).join(", ")}`);
    }
  }

  return {
    // Any of {before, after, target, uncertainty}; null takes a layer away.
    show(layers) {
      Object.assign(state, layers);
      state.before ??= zero();
      draw();
    },
    look,
  };
}

// The same numbers as a table; columns are [title, profile | null], those named in `plain` without a sign.
export function table(columns, plain = []) {
  const shown = columns.filter(([, profile]) => profile);
  return h("table", {},
    h("thead", {}, h("tr", {}, h("th", {scope: "col"}, "Value"), shown.map(([title]) => h("th", {scope: "col"}, title)))),
    h("tbody", {}, NAMES.map((name) => h("tr", {}, h("th", {scope: "row"}, h("span", {class: "dot", "data-value": name}), name),
      shown.map(([title, profile]) => h("td", {}, plain.includes(title) ? (profile[name] ?? 0).toFixed(2) : signed(profile[name] ?? 0)))))));
}
