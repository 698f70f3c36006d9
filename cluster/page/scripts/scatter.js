// Chains as dots: what each would earn against what it would take.

import { el, svg } from "./dom.js";
import { marked, number, plain, prefixed, text } from "./format.js";

const [WIDEST, HEIGHT, LEFT, BOTTOM, TOP, RIGHT] = [560, 340, 40, 44, 14, 28];
const LOG_FROM = 4;

/**
 * {node}: the drawing, with words for it.
 *
 * rows  {name, x, y, chosen, static, available}; x > 0 is drawn by its logarithm where it differs much
 * room  CSS pixels that there are for it
 */
export function scatter(rows, { x: unit, y: title, room }) {
  const width = Math.max(280, Math.min(WIDEST, room));
  const known = rows.filter((row) => row.x > 0 && row.y !== null);
  const drawn = svg("svg", {
    class: "scatter",
    viewBox: `0 0 ${width} ${HEIGHT}`,
    role: "img",
    "aria-label": words(known, unit),
  });
  if (!known.length) return el("p", { class: "soft" }, "What chains cost is not known yet.");
  const across = scaleX(
    known.map((row) => row.x),
    width,
  );
  const rewards = known.map((row) => row.y);
  const up = straight(Math.min(...rewards), Math.max(...rewards), HEIGHT - BOTTOM, TOP);
  drawn.append(...gridOf(across, up, unit, title, width));
  const last = (row) => (row.chosen ? 2 : row.static ? 1 : 0);
  for (const row of [...known].sort((a, b) => last(a) - last(b))) drawn.append(dot(row, across, up, unit, width));
  return drawn;
}

function words(rows, unit) {
  const of = (row) => (row ? `${number(row.y)} for ${text(prefixed(row.x, unit))}` : "unknown");
  const [chosen, fixed] = [rows.find((row) => row.chosen), rows.find((row) => row.static)].map(of);
  return `Predicted reward of ${rows.length} chains against ${unit}: chosen ${chosen}, static ${fixed}. All are in the table.`;
}

function scaleX(values, width) {
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return most < LOG_FROM * least ? straight(least, most, LEFT, width - RIGHT) : logarithmic(values, width);
}

/** Round figures from below the least to above the most. */
function straight(least, most, from, to) {
  const step = niceStep((most - least || Math.abs(most) || 1) / 4);
  const [low, high] = [Math.floor(least / step) * step, Math.ceil(most / step + 0.05) * step];
  const at = (value) => from + ((to - from) * (value - low)) / (high - low);
  return { at, ticks: Array.from({ length: Math.round((high - low) / step) + 1 }, (_, index) => low + index * step) };
}

function logarithmic(values, width) {
  const [low, high] = [Math.log10(Math.min(...values)) - 0.08, Math.log10(Math.max(...values)) + 0.08];
  const at = (value) => LEFT + ((width - LEFT - RIGHT) * (Math.log10(value) - low)) / (high - low);
  const ticks = [];
  for (let power = Math.floor(low); power <= high; power += 1) {
    for (const step of (high - low) / width > 0.0045 ? [1] : (high - low) / width > 0.002 ? [1, 3] : [1, 2, 5]) {
      const value = step * 10 ** power;
      if (Math.log10(value) >= low && Math.log10(value) <= high) ticks.push(value);
    }
  }
  return { at, ticks };
}

function niceStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= least * 0.999);
}

function gridOf(across, up, unit, title, width) {
  const lines = up.ticks.flatMap((value) => [
    svg("line", { x1: LEFT, x2: width - RIGHT, y1: up.at(value), y2: up.at(value) }),
    svg("text", { x: LEFT - 8, y: up.at(value) + 4, "text-anchor": "end" }, plain(Number(value.toPrecision(6)))),
  ]);
  const marks = across.ticks.map((value) =>
    svg(
      "text",
      { x: across.at(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle" },
      marked(Number(value.toPrecision(6)), unit),
    ),
  );
  const name = svg(
    "text",
    { class: "axis", x: width - RIGHT, y: HEIGHT - 6, "text-anchor": "end" },
    `${title} against ${unit === "J" ? "energy" : "computation"} of a request`,
  );
  return [...lines, ...marks, name];
}

function dot(row, across, up, unit, width) {
  const [x, y] = [across.at(row.x), up.at(row.y)];
  const title = svg("title", {}, `${row.name}: ${number(row.y)}, ${text(prefixed(row.x, unit))}`);
  if (row.chosen || row.static) {
    const label = row.chosen ? (row.static ? "chosen, static" : "chosen") : "static";
    const end = x > width - 120;
    const shape = row.chosen
      ? svg("circle", { cx: x, cy: y, r: 7 })
      : svg("rect", { x: x - 6, y: y - 6, width: 12, height: 12 });
    const words = svg(
      "text",
      { x: x + (end ? -12 : 12), y: y + (row.chosen ? -8 : 18), "text-anchor": end ? "end" : "start" },
      label,
    );
    return svg("g", { class: row.chosen ? "chosen" : "static" }, title, shape, words);
  }
  return svg(
    "g",
    { class: row.available === false ? "away" : "other" },
    title,
    svg("circle", { cx: x, cy: y, r: 3.5 }),
  );
}
