// What needs a person, on top; said aloud once when it is new, and never again while it only changes its figures.

import { at, el, say, show } from "./dom.js";

const WORDS = { error: "Error", warning: "Warning", info: "Note" };
const FIRST = ["error", "warning", "info"];
const spoken = new Set();

/** The notes, the gravest first. */
export function showNotes(notes) {
  const sorted = [...notes].sort((a, b) => FIRST.indexOf(a.level) - FIRST.indexOf(b.level));
  at("notes").hidden = !sorted.length;
  show(
    at("notes-list"),
    JSON.stringify(sorted),
    sorted.map((note) => line(note)),
  );
  announce(sorted.filter((note) => note.level !== "info"));
}

function line({ level, code, text }) {
  return el("li", { class: `note note-${level}`, "data-code": code }, el("b", {}, WORDS[level]), el("span", {}, text));
}

function announce(notes) {
  const fresh = notes.filter(({ code }) => !spoken.has(code));
  const codes = new Set(notes.map(({ code }) => code));
  for (const code of spoken) if (!codes.has(code)) spoken.delete(code);
  for (const { code } of fresh) spoken.add(code);
  if (fresh.length) say(at("announce"), fresh.map(({ level, text }) => `${WORDS[level]}: ${text}`).join(" "));
}
