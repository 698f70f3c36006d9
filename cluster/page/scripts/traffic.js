// Requests, how long they take, what each costs, and the grid: four small charts over the same time.

import { Chart } from "./chart.js";
import { at, el, figure, say, show, svg } from "./dom.js";
import { fixed, marked, number, percent, plain, prefixed, span, text } from "./format.js";
import { mark, worst } from "./known.js";

const rate = (value) => ({
  figure: value === null || value === undefined ? "–" : fixed(value, value < 100 ? 1 : 0),
  unit: "requests/s",
});
const took = (value) => prefixed(value === null || value === undefined ? value : value / 1000, "s");
const joules = (value) => prefixed(value, "J");
const grid = (value) => ({ figure: number(value), unit: "g/kWh" });

const TILES = {
  requests: {
    scale: rate,
    lines: [
      ["requests", "series-2", (p) => p.requests_per_s],
      ["degraded", "limit", (p) => p.degraded_per_s],
    ],
  },
  latency: {
    scale: took,
    tick: (value) => marked(value / 1000, "s"),
    lines: [
      ["median", "series-2", (p) => p.latency_p50_ms],
      ["99 of 100", "series-4", (p) => p.latency_p99_ms, [5, 3]],
    ],
  },
  each: {
    scale: joules,
    tick: (value) => marked(value, "J"),
    lines: [["a request", "series-1", (p) => p.energy_j_per_request]],
    least: 1e-9,
  },
  grid: { scale: grid, lines: [["grid", "series-6", (p) => p.g_per_kwh]] },
};

export class TrafficCards {
  constructor() {
    this.charts = Object.fromEntries(
      Object.entries(TILES).map(([name, { lines, scale, tick, least }]) => {
        const format = (value) => text(scale(value));
        if (lines.length > 1) at(`${name}-chart`).before(keyOf(lines));
        return [name, new Chart(at(`${name}-chart`), { height: 116, format, tick: tick ?? plain, least })];
      }),
    );
  }

  render(told, points, spanS) {
    sayRequests(told);
    sayLatency(told.requests);
    sayEach(told);
    sayGrid(told);
    for (const [name, tile] of Object.entries(TILES)) this.plot(name, tile, told, points, spanS);
  }

  plot(name, { lines, scale }, told, points, spanS) {
    const columns = points.columns(spanS, ...lines.map(([, , value]) => value));
    const drawn = lines.map(([label, colour, , dash]) => ({ label, colour, dash, width: 1.5 }));
    const label = lines.map(([title], index) => summary(title, columns[index + 1], scale)).join(" ");
    this.charts[name].draw(columns, drawn, {
      endS: told.time_s,
      spanS,
      label: `Over the last ${span(spanS)}: ${label}`,
    });
  }
}

/** Which line is which. */
function keyOf(lines) {
  const line = (dash) =>
    svg(
      "svg",
      { viewBox: "0 0 20 8", "aria-hidden": "true" },
      svg("line", { x1: 0, x2: 20, y1: 4, y2: 4, "stroke-dasharray": dash?.join(" ") }),
    );
  return el(
    "ul",
    { class: "key" },
    lines.map(([title, colour, , dash]) => el("li", { class: colour }, line(dash), title)),
  );
}

function summary(title, values, scale) {
  const known = values.filter((value) => value !== null);
  if (!known.length) return `${title}: nothing is known.`;
  const of = (value) => text(scale(value));
  return `${title}: now ${of(known.at(-1))}, lowest ${of(Math.min(...known))}, highest ${of(Math.max(...known))}.`;
}

function sayRequests({ requests }) {
  figure(at("requests"), rate(requests.per_s));
  const reasons = Object.entries(requests.degraded_per_s).filter(([, perS]) => perS > 0);
  const lines = reasons.map(([reason, perS]) =>
    el("li", {}, `degraded, ${reason}: ${number(perS)}/s, ${percent(perS / (requests.per_s || 1))}`),
  );
  const none = el("li", {}, "none degraded");
  const earning = el("li", {}, `${number(requests.reward_per_s)} predicted reward/s`);
  show(at("requests-says"), JSON.stringify(requests), lines.length ? lines : none, earning);
}

function sayLatency({ latency_ms: latency }) {
  figure(at("latency"), took(latency?.p50));
  const says = latency
    ? `median; 90 of 100 within ${text(took(latency.p90))}, 99 within ${text(took(latency.p99))}`
    : "no request was answered in this window";
  say(at("latency-says"), says);
}

/** No meter reads a single request: its joules are worked out. */
function sayEach({ requests, power }) {
  figure(at("each"), joules(requests.energy_j));
  mark(at("each-known"), requests.energy_j === null ? null : worst("modelled", power?.quality));
  const idle =
    requests.energy_j === null
      ? "not known: no joules are put down to requests yet"
      : "mean of its own work, idle machines left out";
  say(at("each-says"), power ? idle : "Joules are not accounted for.");
}

function sayGrid({ carbon }) {
  figure(at("grid"), grid(carbon?.g_per_kwh));
  mark(at("grid-known"), carbon?.quality);
  const says = carbon
    ? `${carbon.zone && `${carbon.zone}, `}${carbon.kind} intensity${carbon.stale ? "; stale: its source is silent" : ""}`
    : "Nobody tells the grid's carbon intensity.";
  say(at("grid-says"), says);
}
