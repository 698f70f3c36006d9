// The last hours as points of time: what the server remembered, then each window as it comes, thinned as it ages.

const KEPT_S = 3 * 3600 + 60;
const FINE_S = 600;

/** What `history` tells as a point, of a window. */
export function pointOf(told) {
  const { power, carbon, requests } = told;
  return {
    time_s: told.time_s,
    power_w: power?.power_w ?? null,
    devices: Object.fromEntries(devicesOf(power).map((one) => [one.key, one.power_w])),
    requests_per_s: requests.per_s,
    degraded_per_s: Object.values(requests.degraded_per_s).reduce((sum, one) => sum + one, 0),
    latency_p50_ms: requests.latency_ms?.p50 ?? null,
    latency_p99_ms: requests.latency_ms?.p99 ?? null,
    reward_per_s: requests.reward_per_s,
    energy_j_per_request: requests.energy_j,
    g_per_kwh: carbon?.g_per_kwh ?? null,
    constraints: Object.fromEntries(told.constraints.map((one) => [one.name, one])),
    mix: Object.fromEntries(told.mix.map(({ stage, actions }) => [stage, sharesOf(actions)])),
  };
}

/** What an action is called in `mix` of a point. */
export const actionKey = ({ variant, items }) => (variant === null ? "skip" : `${variant}@${items}`);

const sharesOf = (actions) => Object.fromEntries(actions.map((one) => [actionKey(one), one.share]));

/** All devices, each with its host and the key by which points know it. */
export function devicesOf(power) {
  return (power?.nodes ?? []).flatMap(({ host, devices }) =>
    devices.map((one) => {
      const own = one.device.startsWith(`${host}/`) ? one.device.slice(host.length + 1) : one.device;
      return { ...one, host, device: own, key: `${host}/${own}` };
    }),
  );
}

/** Points in order of time, three hours of them. */
export class Points {
  constructor() {
    this.all = [];
    this.stepS = 10;
    this.thinned = 0;
  }

  /** All that the server remembers, or what it has to add. */
  take({ step_s: stepS, resumed, points }) {
    this.stepS = stepS;
    if (!resumed) [this.all, this.thinned] = [[], 0];
    const lastS = this.all.at(-1)?.time_s ?? -Infinity;
    this.all.push(...points.filter((one) => one.time_s > lastS));
  }

  add(point) {
    const lastS = this.all.at(-1)?.time_s ?? -Infinity;
    if (point.time_s <= lastS) return;
    this.all.push(point);
    this.thin(point.time_s - FINE_S);
    const first = this.all.findIndex((one) => one.time_s >= point.time_s - KEPT_S);
    if (first > 0) {
      this.all.splice(0, first);
      this.thinned = Math.max(0, this.thinned - first);
    }
  }

  /** Steps that ended before then become a point each, as the server's own are. */
  thin(untilS) {
    const end = this.all.findIndex((one, index) => index >= this.thinned && one.time_s >= untilS);
    if (end - this.thinned < 2 * this.stepS) return;
    const thinner = inSteps(this.all.slice(this.thinned, end), this.stepS);
    this.all.splice(this.thinned, end - this.thinned, ...thinner);
    this.thinned += thinner.length;
  }

  /** Those of the last seconds; of a long time one for each step, so that all of it is as smooth. */
  last(seconds) {
    const endS = this.all.at(-1)?.time_s ?? 0;
    const known = this.all.filter((one) => one.time_s > endS - seconds);
    return seconds > FINE_S ? inSteps(known, this.stepS) : known;
  }

  /** Columns for a chart; where points are missing, a gap. */
  columns(seconds, ...values) {
    const points = this.last(seconds);
    const columns = [[], ...values.map(() => [])];
    points.forEach((point, index) => {
      const before = points[index - 1];
      if (before && point.time_s - before.time_s > 3.5 * this.stepS) {
        columns.forEach((column, row) => column.push(row ? null : before.time_s + this.stepS));
      }
      columns[0].push(point.time_s);
      values.forEach((value, row) => columns[row + 1].push(value(point) ?? null));
    });
    return columns;
  }
}

const MEANS = [
  "power_w",
  "requests_per_s",
  "degraded_per_s",
  "latency_p50_ms",
  "latency_p99_ms",
  "reward_per_s",
  "energy_j_per_request",
  "g_per_kwh",
];

/** A point for each step: the last one of it, with the means of all. */
function inSteps(points, stepS) {
  const steps = Map.groupBy(points, (point) => Math.floor(point.time_s / stepS));
  return [...steps.values()].map((step) => (step.length === 1 ? step[0] : meanOf(step)));
}

function meanOf(points) {
  const told = points.at(-1);
  const means = MEANS.map((key) => [key, mean(points.map((point) => point[key]))]);
  const devices = Object.keys(told.devices).map((key) => [key, mean(points.map((point) => point.devices[key]))]);
  return { ...told, ...Object.fromEntries(means), devices: Object.fromEntries(devices) };
}

/** Of what is known of these; null of nothing. */
export function mean(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  return known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : null;
}
