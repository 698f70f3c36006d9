// A small line without axes, beside a figure that says the same in words.

import { svg } from "./dom.js";

const WIDTH = 96;
const HEIGHT = 22;

/** The values in order of time, nulls left out, from zero or from their least. */
export function spark(values, kind = "") {
  const known = values.filter((value) => value !== null && value !== undefined);
  const drawn = svg("svg", {
    class: `spark ${kind}`,
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    "aria-hidden": "true",
    preserveAspectRatio: "none",
  });
  if (known.length < 2) return drawn;
  const high = Math.max(...known, 1e-300);
  const points = thin(known).map((value, index, all) => {
    const x = (WIDTH * index) / (all.length - 1);
    return `${x.toFixed(1)},${(HEIGHT - 2 - (HEIGHT - 4) * (Math.max(0, value) / high)).toFixed(1)}`;
  });
  drawn.append(svg("polyline", { points: points.join(" "), "vector-effect": "non-scaling-stroke" }));
  return drawn;
}

/** So many as can be told apart. */
function thin(values) {
  const step = Math.max(1, Math.ceil(values.length / WIDTH));
  return values.filter((_, index) => index % step === 0 || index === values.length - 1);
}
