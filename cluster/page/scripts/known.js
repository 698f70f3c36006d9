// How a figure is known: measured, modelled or assumed, told by a shape and a word wherever joules or grams stand.

import { at, el, show, svg } from "./dom.js";
import { percent } from "./format.js";

const WORST_FIRST = ["assumed", "modelled", "measured"];
const MEANS = {
  measured: "A meter counted it.",
  modelled: "Worked out from something measured.",
  assumed: "Worked out from a figure that nobody measured here.",
};

/** The worst of these qualities; null of none. */
export function worst(...qualities) {
  return WORST_FIRST.find((one) => qualities.includes(one)) ?? null;
}

/** The worst quality that has a share. */
export const worstOf = (shares) => worst(...Object.keys(shares).filter((one) => shares[one] > 0));

/** A full, a half or an empty dotted disc. */
export function shape(quality) {
  const drawn = svg("svg", { class: "shape", viewBox: "0 0 12 12", "aria-hidden": "true", focusable: "false" });
  if (quality === "measured") drawn.append(svg("circle", { cx: 6, cy: 6, r: 5, class: "full" }));
  if (quality === "modelled") {
    drawn.append(
      svg("circle", { cx: 6, cy: 6, r: 4.5, class: "ring" }),
      svg("path", { d: "M6 1.5a4.5 4.5 0 0 0 0 9z", class: "full" }),
    );
  }
  if (quality === "assumed") drawn.append(svg("circle", { cx: 6, cy: 6, r: 4.5, class: "ring dotted" }));
  return drawn;
}

/** The shape, and words, by default the quality's own. */
export function badge(quality, words = quality) {
  if (!quality) return el("span", { class: "badge", "data-quality": "unknown" }, "not known");
  return el(
    "span",
    { class: "badge", "data-quality": quality, title: `${quality}: ${MEANS[quality]}` },
    shape(quality),
    words,
  );
}

/** What the badges mean, once for the whole page. */
export function explainKnown() {
  const lines = Object.entries(MEANS).map(([quality, means]) =>
    el("div", {}, el("dt", {}, badge(quality)), el("dd", {}, means)),
  );
  at("how").replaceChildren(...lines);
}

/** Puts the badge into the node; nothing for no quality. */
export function mark(node, quality, words = quality) {
  show(node, `${quality} ${words}`, quality ? badge(quality, words) : null);
}

/** `97.1% measured, 2.9% modelled`, or the one word. */
export function inWords(shares) {
  const told = WORST_FIRST.toReversed().filter((one) => shares[one] > 0);
  return told.length === 1 ? told[0] : told.map((one) => `${percent(shares[one])} ${one}`).join(", ");
}
