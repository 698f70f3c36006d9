// Light or dark: as the system says, or as the person at this browser has said.

import { at } from "./dom.js";

const KEY = "greenflow-theme";

/** A colour of the style sheet as it is now; charts are painted with them. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Lets people choose, remembers it in this browser, and tells when colours have changed. */
export function startTheme(changed) {
  const choose = (theme) => {
    document.documentElement.dataset.theme = theme;
    changed();
  };
  const remembered = remember();
  at("theme").addEventListener("change", (event) => {
    remember(event.target.value);
    choose(event.target.value);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  const radio = document.querySelector(`#theme input[value="${remembered}"]`) ?? document.querySelector("#theme input");
  radio.checked = true;
  choose(radio.value);
}

/** Browsers may refuse to remember anything. */
function remember(theme) {
  try {
    if (theme) localStorage.setItem(KEY, theme);
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
