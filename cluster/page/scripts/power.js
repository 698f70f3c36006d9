// Watts now and over the last hours, by device, against the limits of power.

import { Chart } from "./chart.js";
import { at, bar, el, figure, say, show } from "./dom.js";
import { clock, marked, percent, sentence, span, text, watts } from "./format.js";
import { badge, mark, worst } from "./known.js";
import { devicesOf, mean } from "./points.js";

const COLOURS = ["series-1", "series-2", "series-3", "series-4", "series-5", "series-6", "series-7", "series-8"];
const MOST_LINES = COLOURS.length;
const MOST_ROWS = 16;
const CALM_S = 10;
const OFF =
  "Joules are not accounted for here: the setting energy.enabled is false. " +
  "Start the server with GREENFLOW_ENERGY_ENABLED=true.";

export class PowerCard {
  constructor() {
    const format = (value) => text(watts(value));
    this.chart = new Chart(at("power-chart"), { height: 320, format, tick: (value) => marked(value, "W"), least: 1 });
  }

  render(told, points, spanS) {
    const { power, constraints } = told;
    const limits = constraints.filter((one) => one.kind === "power");
    figure(at("power-w"), watts(power?.power_w));
    mark(at("power-known"), power?.power_w === null ? null : power?.quality);
    const calmW = mean(points.last(CALM_S).map((point) => point.power_w));
    say(at("power-says"), saying(power, limits, calmW));
    say(at("power-when"), power ? `${clock(told.time_s)}, mean of ${span(told.window_s)}` : "");
    at("power-says").classList.toggle(
      "over",
      limits.some((one) => calmW > 1.02 * one.limit),
    );
    at("power-over").hidden = !power;
    if (!power) return;
    const groups = groupsOf(devicesOf(power), points.last(spanS));
    this.plot(points, spanS, groups, limits, told);
    listDevices(power, groups);
    listNotRead(power.not_read);
  }

  plot(points, spanS, groups, limits, told) {
    const known = (value) => (point) => (point.power_w === null ? null : value(point));
    const sums = groups.map((_, index) => known((point) => stacked(point, groups, index)));
    const others = limits.map(({ name }) => known((point) => point.constraints[name]?.limit));
    const columns = points.columns(spanS, ...sums, ...others, (point) => point.power_w);
    const own = groups.map((group) => points.columns(spanS, (point) => sumOf(point, group))[1]);
    const areas = groups.map(({ label, colour, quality }, index) => ({
      label,
      colour,
      width: 1,
      fill: [colour, quality],
      banded: index > 0,
      told: own[index],
    }));
    const caps = limits.map(({ name, limit }) => ({
      label: `limit ${name}`,
      colour: "limit",
      width: 2,
      dash: [6, 4],
      stepped: true,
      named: `${name} ${text(watts(limit))}`,
    }));
    const total = { label: "all", colour: "ink", width: 1.75 };
    const bands = groups.slice(1).map((_, index) => [index + 2, index + 1]);
    const label = summary(points.last(spanS), spanS, limits);
    this.chart.draw(columns, [...areas, ...caps, total], { endS: told.time_s, spanS, bands, label });
  }
}

/** What the figure means; of a moment it would say another thing every second. */
function saying(power, limits, calmW) {
  if (!power) return OFF;
  if (power.power_w === null) return sentence(power.unknown ?? "no meter has told any watts yet");
  if (!limits.length) return "No limit of power is set.";
  const [tightest] = [...limits].sort((a, b) => a.limit - b.limit);
  const left = tightest.limit - calmW;
  const of = `the limit ${tightest.name} of ${text(watts(tightest.limit))}`;
  const aside = left >= 0 ? "below" : "above";
  return `Over ${span(CALM_S)} ${text(watts(Math.abs(left)))} ${aside} ${of}`;
}

/** Devices as they are drawn: each, or where they are many each host, or the largest of these and the rest. */
export function groupsOf(devices, points) {
  const keys = [
    ...new Set([...points.flatMap((point) => Object.keys(point.devices)), ...devices.map((one) => one.key)]),
  ];
  let groups = keys.map((key) => ({ label: key, keys: [key], quality: qualityOf([key], devices) }));
  if (groups.length > MOST_LINES) groups = byHost(keys, devices);
  if (groups.length > MOST_LINES) groups = [...groups.slice(0, MOST_LINES - 1), merged(groups.slice(MOST_LINES - 1))];
  return groups.map((group, index) => ({ ...group, colour: COLOURS[index] }));
}

function byHost(keys, devices) {
  const hosts = [...new Set(devices.map((one) => one.host))];
  const hostOf = (key) => hosts.find((host) => key === host || key.startsWith(`${host}/`)) ?? "others";
  return [...new Set(keys.map(hostOf))].map((host) => {
    const own = keys.filter((key) => hostOf(key) === host);
    return { label: host, keys: own, quality: qualityOf(own, devices) };
  });
}

function merged(groups) {
  return {
    label: "others",
    keys: groups.flatMap((one) => one.keys),
    quality: worst(...groups.map((one) => one.quality)),
  };
}

/** How well the worst of these is known; of devices that are gone nobody says it. */
function qualityOf(keys, devices) {
  const known = devices.filter(({ key, host }) => keys.includes(key) || keys.includes(host));
  return worst(...known.map((one) => one.quality)) ?? "assumed";
}

/** Watts of the group at a point; null where nothing is known of it. */
function sumOf(point, { keys }) {
  const known = keys.map((key) => point.devices[key]).filter((one) => one !== null && one !== undefined);
  return known.length ? known.reduce((sum, one) => sum + one, 0) : null;
}

function stacked(point, groups, index) {
  return groups.slice(0, index + 1).reduce((sum, group) => sum + (sumOf(point, group) ?? 0), 0);
}

function summary(points, spanS, limits) {
  const known = points.map((point) => point.power_w).filter((one) => one !== null);
  if (!known.length) return "Power: nothing is known yet.";
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const caps = limits.map(({ name, limit }) => ` Limit ${name}: ${text(watts(limit))}.`).join("");
  const [now, least, most] = [known.at(-1), low, high].map((value) => text(watts(value)));
  return `Power over the last ${span(spanS)}: now ${now}, lowest ${least}, highest ${most}.${caps}`;
}

function listDevices(power, groups) {
  const devices = devicesOf(power);
  const total = power.power_w || 1;
  const shown = devices.slice(0, MOST_ROWS);
  show(
    at("devices"),
    JSON.stringify([power.nodes, groups.map((group) => group.keys)]),
    shown.map((one) => row(one, groups, total)),
  );
  say(
    at("devices-more"),
    devices.length > shown.length ? `and ${devices.length - shown.length} more devices: see v1/power` : "",
  );
}

function row(one, groups, total) {
  const group = groups.find(({ keys, label }) => keys.includes(one.key) || label === one.host);
  const swatch = el("i", {
    class: `swatch ${group?.colour ?? ""}`,
    "data-quality": one.quality,
    "aria-hidden": "true",
  });
  return el(
    "tr",
    {},
    el("td", {}, swatch, el("span", {}, one.device), el("span", { class: "soft" }, ` ${one.host}`)),
    el("td", { class: "soft" }, `${one.kind}, by ${one.source}`),
    el("td", {}, one.power_w === null ? el("span", { class: "soft" }, "not known") : badge(one.quality)),
    el("td", { class: "figures" }, text(watts(one.power_w))),
    el("td", { class: "figures soft" }, one.power_w === null ? "" : percent(one.power_w / total, 0)),
    el("td", { class: "bars" }, bar((one.power_w ?? 0) / total, group?.colour)),
  );
}

/** Sensors that are there and cannot be read are news only where nothing better is; so they are folded. */
function listNotRead(refusals) {
  at("not-read").hidden = !refusals.length;
  say(at("not-read-count"), `Not read: ${refusals.length} ${refusals.length === 1 ? "sensor" : "sensors"}`);
  const lines = refusals.map(({ sensor, what, problem, remedy }) =>
    el(
      "li",
      {},
      el("b", {}, [sensor, what].filter(Boolean).join(" ")),
      `: ${problem}`,
      remedy ? el("span", { class: "remedy" }, remedy) : null,
    ),
  );
  show(at("not-read-list"), JSON.stringify(refusals), lines);
}
