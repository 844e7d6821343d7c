// Elements without markup in strings: whatever a person typed is only ever set as text.

export const $ = (id) => document.getElementById(id);

// h("p", {class: "note", onclick: f}, "text", child, …). Attributes by name; `on…` are listeners; false and null are left out.
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

const SVG = "http://www.w3.org/2000/svg";

export function s(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

function fill(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return element;
}

export function debounce(wait, work) {
  let timer = 0;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => work(...given), wait);
  };
}

// Copies, and says so where the person looks; browsers refuse outside secure contexts, so the old way stays as a second.
export async function copy(text, say) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", {class: "hidden", "aria-hidden": "true"});
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return say("The browser does not allow copying; select the text and copy it.");
  }
  say("Copied.");
}

// Reads and writes this browser's storage; a browser that keeps nothing is no error.
export const store = {
  get(key, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(`visa.${key}`)) ?? otherwise;
    } catch {
      return otherwise;
    }
  },
  set(key, value) {
    try {
      localStorage.setItem(`visa.${key}`, JSON.stringify(value));
      return true;
    } catch {
      return false;
    }
  },
  drop(key) {
    try {
      localStorage.removeItem(`visa.${key}`);
    } catch { /* nothing was kept */ }
  },
};
