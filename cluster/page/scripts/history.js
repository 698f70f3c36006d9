// The charts in figures, for who cannot see them or wants to copy them.

import { at, el, show } from "./dom.js";
import { clock, day, number, prefixed, text, watts } from "./format.js";

const ROWS = 12;
const COLUMNS = [
  ["Power", (p) => text(watts(p.power_w))],
  ["Requests/s", (p) => number(p.requests_per_s)],
  ["Median", (p) => text(prefixed(ms(p.latency_p50_ms), "s"))],
  ["99 of 100", (p) => text(prefixed(ms(p.latency_p99_ms), "s"))],
  ["A request", (p) => text(prefixed(p.energy_j_per_request, "J"))],
  ["Grid, g/kWh", (p) => number(p.g_per_kwh)],
];

const ms = (value) => (value === null ? null : value / 1000);

/** Twelve points of the time shown, the newest first, while the table is open. */
export function showHistory(points, spanS) {
  if (!at("history").open) return;
  const chosen = points.last(spanS);
  const step = Math.max(1, Math.ceil(chosen.length / ROWS));
  const shown = chosen.toReversed().filter((_, index) => index % step === 0);
  const limits = [...new Set(shown.flatMap((point) => Object.keys(point.constraints)))];
  const heads = ["Time", ...COLUMNS.map(([title]) => title), ...limits.map((name) => `Price ${name}`)];
  show(
    at("history-head"),
    heads.join(),
    el(
      "tr",
      {},
      heads.map((title) => el("th", { scope: "col" }, title)),
    ),
  );
  show(
    at("history-rows"),
    `${shown[0]?.time_s} ${spanS}`,
    shown.map((point) => row(point, limits, spanS)),
  );
}

function row(point, limits, spanS) {
  const prices = limits.map((name) => number(point.constraints[name]?.price ?? null));
  const cells = [...COLUMNS.map(([, value]) => value(point)), ...prices];
  const time = spanS > 86_000 ? day(point.time_s) : clock(point.time_s);
  return el(
    "tr",
    {},
    el("th", { scope: "row" }, time),
    cells.map((cell) => el("td", { class: "figures" }, cell)),
  );
}
