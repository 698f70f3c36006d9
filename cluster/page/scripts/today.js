// What the day has taken, and what was saved against the users who are held back.

import { at, el, figure, say, show, svg } from "./dom.js";
import { energy, fixed, grams, minute, number, percent, sentence, text } from "./format.js";
import { inWords, mark, worst, worstOf } from "./known.js";

const WIDEST = 4; // an interval so wide leaves no room between 0% and 100%
const OFF = "Joules are not accounted for.";
const NOT_YET = "The ledger cannot be read yet, or holds nothing yet.";
const NO_GRID =
  "Nobody tells the grid's carbon intensity: set GREENFLOW_CARBON_G_PER_KWH, or another GREENFLOW_CARBON_PROVIDER.";
const NO_SAVINGS = "Nothing is decided here, or nobody is held back, so there is nothing to compare with.";

/** Joules, grams and savings. */
export function showToday({ power, energy: account, carbon, savings }) {
  const nothing = power ? NOT_YET : OFF;
  showEnergy(account, nothing);
  showCarbon(account, carbon, nothing);
  showSaved(savings);
}

function showEnergy(account, nothing) {
  const today = account?.today;
  figure(at("today-energy"), energy(today?.energy_j));
  mark(at("today-energy-known"), today && worstOf(today.shares), today && inWords(today.shares));
  if (!account) return say(at("today-energy-says"), nothing);
  const each = today.requests ? ` for ${fixed(today.requests)} requests` : "";
  const building = today.facility_j > today.energy_j ? `, ${text(energy(today.facility_j))} with the building` : "";
  say(
    at("today-energy-says"),
    `Since ${minute(today.start_s)} (UTC day)${each}${building}. In all ${text(energy(account.total.energy_j))}.`,
  );
}

function showCarbon(account, carbon, nothing) {
  const today = account?.today;
  figure(at("today-grams"), grams(today?.grams));
  const known = today && carbon ? worst(worstOf(today.shares), carbon.quality, carbon.pue_quality) : null;
  mark(at("today-grams-known"), today?.grams === null ? null : known);
  say(at("today-grams-says"), account ? carbonSays(carbon) : nothing);
}

function carbonSays(carbon) {
  if (!carbon) return NO_GRID;
  const stale = carbon.stale ? ", stale" : "";
  const now = `Grid${carbon.zone && ` ${carbon.zone}`}: ${number(carbon.g_per_kwh)} g/kWh now, ${carbon.kind}${stale}`;
  return `${now}; PUE ${number(carbon.pue)}, ${carbon.pue_quality}.`;
}

/** Intervals may be looked at any time: they are the sequential ones. */
function showSaved(savings) {
  const share = savings?.energy_j.relative;
  figure(at("saved"), headline(share));
  at("saved").classList.toggle("unknown", !certain(share));
  mark(at("saved-known"), share && "modelled");
  say(at("saved-says"), savedSays(savings));
  show(at("saved-interval"), JSON.stringify(share ?? null), share ? interval(share) : null);
  const lines = share
    ? [total("Energy", savings.energy_j, energy), total("CO₂e", savings.co2e_g, grams), earned(savings.reward)]
    : [];
  show(at("saved-more"), JSON.stringify(savings), lines.filter(Boolean).flat());
}

/** Whether it is known at all that something is saved, or wasted. */
const certain = (share) => Boolean(share) && (share.low > 0 || share.high < 0);

function headline(share) {
  if (!share) return { figure: "Not yet known", unit: "" };
  if (!certain(share)) return { figure: "Not told apart", unit: "" };
  return { figure: percent(Math.abs(share.value)), unit: `${share.value < 0 ? "more" : "less"} energy a request` };
}

function savedSays(savings) {
  if (!savings) return NO_SAVINGS;
  const { arms, energy_j: saved } = savings;
  const [policy, held] = [fixed(arms.policy ?? 0), fixed(arms.holdback ?? 0)];
  const against = `${policy} requests against ${held} that were held back on the static chain.`;
  const reason = saved.reason.replace(/^not yet known: /, "") || "there are too few requests to tell";
  if (!saved.relative) return sentence(reason);
  const so = certain(saved.relative) ? "Between" : "It may save nothing: between";
  const between = `${so} ${percent(saved.relative.low)} and ${percent(saved.relative.high)}`;
  return `${between} (95%, however often you look): ${against}`;
}

function total(title, saved, scale) {
  if (!saved.total) return [el("dt", {}, title), el("dd", {}, sentence(saved.reason || "not yet known"))];
  const { value, low, high } = saved.total;
  return [
    el("dt", {}, title),
    el("dd", {}, `${text(scale(value))} saved so far (${text(scale(low))} to ${text(scale(high))})`),
  ];
}

/** The server tells what is forgone; people ask what is earned more. */
function earned({ relative, reason }) {
  if (!relative) return [el("dt", {}, "Reward"), el("dd", {}, sentence(reason || "not yet known"))];
  const more = (share) => (share > 0 ? `+${percent(share, 2)}` : percent(share, 2));
  return [
    el("dt", {}, "Reward"),
    el("dd", {}, `${more(-relative.value)} (${more(-relative.high)} to ${more(-relative.low)}) of the static chain's`),
  ];
}

/** The interval as a drawing, from nothing saved to all. */
function interval({ value, low, high }) {
  const [from, to] = [Math.min(0, low), Math.max(1, high)];
  const x = (share) => (4 + (232 * (share - from)) / (to - from)).toFixed(1);
  return svg(
    "svg",
    { class: "interval", viewBox: "0 0 240 30", "aria-hidden": "true" },
    svg("line", { class: "base", x1: x(from), x2: x(to), y1: 9, y2: 9 }),
    svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 3, y2: 15 }),
    svg("rect", { class: "range", x: x(low), y: 6, width: Math.max(2, x(high) - x(low)), height: 6, rx: 3 }),
    svg("circle", { class: "value", cx: x(value), cy: 9, r: 5 }),
    svg("text", { x: x(0), y: 28, "text-anchor": from < 0 ? "middle" : "start" }, "0%"),
    to - from < WIDEST ? svg("text", { x: x(1), y: 28, "text-anchor": "end" }, "100%") : null,
  );
}
