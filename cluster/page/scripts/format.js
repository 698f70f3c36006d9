// Figures in words: units and as many digits as count, the same as in reports.

const NONE = "–";
const SMALL = ["", "m", "µ", "n", "p"];
const LARGE = ["", "k", "M", "G", "T", "P"];

/** The figure with so many places; a true minus sign, thousands parted by commas. */
export function fixed(value, places = 0) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const text = value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places });
  return text.replace("-", "−");
}

/** The figure with so many digits that count. */
export function number(value, digits = 3) {
  if (!value || !Number.isFinite(value)) return value === 0 ? "0" : NONE;
  const rounded = Math.abs(Number(value.toExponential(digits - 1)));
  return fixed(value, Math.min(12, Math.max(0, digits - 1 - Math.floor(Math.log10(rounded)))));
}

/** The figure as it was stated, without noughts at its end. */
export function plain(value, digits = 6) {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  return value.toLocaleString("en-US", { maximumSignificantDigits: digits }).replace("-", "−");
}

/** {figure, unit}: with the prefix that leaves 1 to 999 before the point. */
export function prefixed(value, unit, digits = 3) {
  if (!value || !Number.isFinite(value)) return { figure: number(value), unit };
  const thousands = Math.floor(Math.log10(Math.abs(Number(value.toExponential(digits - 1)))) / 3);
  const step = Math.max(1 - SMALL.length, Math.min(LARGE.length - 1, thousands));
  const prefix = step < 0 ? SMALL[-step] : LARGE[step];
  return { figure: number(value / 10 ** (3 * step), digits), unit: prefix + unit };
}

/** A mark on an axis: with its unit, and without noughts at its end. */
export function marked(value, unit) {
  const { figure, unit: prefixedUnit } = prefixed(value, unit, 3);
  return `${figure.includes(".") ? figure.replace(/\.?0+$/, "") : figure} ${prefixedUnit}`;
}

/** {figure, unit}: watts with places that stay while they move. */
export function watts(value) {
  if (value === null || value === undefined) return { figure: NONE, unit: "W" };
  if (Math.abs(value) >= 1e4) return prefixed(value, "W", 4);
  return { figure: fixed(value, Math.abs(value) < 10 ? 2 : Math.abs(value) < 1000 ? 1 : 0), unit: "W" };
}

/** {figure, unit}: joules of an account, in the unit of electricity bills where there are enough of them. */
export function energy(joules) {
  if (joules === null || joules === undefined) return { figure: NONE, unit: "kWh" };
  const size = Math.abs(joules);
  if (size >= 3.6e9) return { figure: number(joules / 3.6e9), unit: "MWh" };
  if (size >= 3.6e5) return { figure: number(joules / 3.6e6), unit: "kWh" };
  if (size >= 360) return { figure: number(joules / 3600), unit: "Wh" };
  return prefixed(joules, "J");
}

/** {figure, unit}: grams; tonnes from a million on. */
export function grams(value) {
  return Math.abs(value ?? 0) >= 1e6 ? { figure: number(value / 1e6), unit: "t" } : prefixed(value, "g");
}

/** A share of one in per cent. */
export function percent(share, places = 1) {
  if (share === null || share === undefined) return NONE;
  if (share > 0 && share < 0.0005) return "<0.1%";
  if (share >= 0.9995 && share < 1) return ">99.9%";
  return `${fixed(100 * share, share === 0 || share === 1 ? 0 : places)}%`;
}

/** A figure and its unit as one text. */
export function text({ figure, unit }) {
  return unit ? `${figure} ${unit}` : figure;
}

/** What a server says in a word or two, as a sentence. */
export function sentence(said) {
  const begun = said.charAt(0).toUpperCase() + said.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** A time span, roughly. */
export function span(seconds) {
  if (seconds < 100) return `${Math.max(0, Math.round(seconds))} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return `${number(seconds / 3600)} h`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const DAY = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** 14:03:27, local time. */
export const clock = (timeS) => CLOCK.format(new Date(1000 * timeS));

/** 14:03, local time. */
export const minute = (timeS) => MINUTE.format(new Date(1000 * timeS));

/** 28 Nov, 14:03, local time. */
export const day = (timeS) => DAY.format(new Date(1000 * timeS));

/** The zone that times are told in: Europe/Berlin (UTC+1). */
export function zone(date = new Date()) {
  const name = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const minutes = -date.getTimezoneOffset();
  const [whole, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  const hours = rest ? `${whole}:${String(rest).padStart(2, "0")}` : `${whole}`;
  const offset = minutes === 0 ? "UTC" : `UTC${minutes < 0 ? "−" : "+"}${hours}`;
  return name === "UTC" ? "UTC" : `${name} (${offset})`;
}
