// Light or dark: as the system says, until the person says otherwise.

import {$, store} from "./dom.js";

const next = {system: "light", light: "dark", dark: "system"};
const words = {system: "Theme: system", light: "Theme: light", dark: "Theme: dark"};

export function theme() {
  let now = store.get("theme", "system");
  const show = () => {
    if (now === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = now;
    $("theme").textContent = words[now];
  };
  $("theme").addEventListener("click", () => {
    now = next[now] ?? "system";
    store.set("theme", now);
    show();
  });
  if (!(now in next)) now = "system";
  show();
}
