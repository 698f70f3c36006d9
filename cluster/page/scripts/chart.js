// Lines over time, on uPlot: colours of the style sheet, local time, what is under the pointer, and all of it in words.

import { el, say } from "./dom.js";
import { clock, minute } from "./format.js";
import { colour } from "./theme.js";

const TILE = 6;
const TICKS_PX = 70;
const LEAST_S = 120;

/**
 * A chart in the holder.
 *
 * lines   {label, colour, width, dash, stepped, fill: [colour, quality], told} of each column after the time
 * bands   pairs of lines to be filled between, as uPlot wants them
 * format  a value with its unit;  tick  one on the axis
 */
export class Chart {
  constructor(holder, { height = 120, format, tick = format, least = 1 }) {
    Object.assign(this, { holder, height, format, tick, least, plot: null, key: "", endLabels: [] });
    this.canvas = el("div", { class: "canvas", role: "img", "aria-label": "nothing is known yet" });
    this.readout = el("p", { class: "readout", "aria-hidden": "true" });
    holder.replaceChildren(this.canvas, this.readout);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.canvas);
  }

  /**
   * Draws these columns; the time axis ends at `endS`, and is `spanS` long where so much is known. The plot is made
   * anew only where other lines are drawn: it would lose the pointer.
   */
  draw(columns, lines, { endS, spanS, bands = [], label }) {
    this.holder.hidden = !columns.slice(1).some((column) => column.some((value) => value !== null));
    if (this.holder.hidden) return;
    const key = JSON.stringify([lines, bands], (name, value) => (name === "told" ? undefined : value));
    this.range = [Math.max(endS - spanS, Math.min(columns[0][0] ?? endS, endS - LEAST_S)), endS];
    this.lines = lines;
    if (key !== this.key) this.make(key, columns, lines, bands);
    else this.plot.setData(columns);
    this.describe(label, `${key} ${spanS}`);
  }

  make(key, columns, lines, bands) {
    this.plot?.destroy();
    this.key = key;
    const series = [{}, ...lines.map((line) => seriesOf(line))];
    const options = {
      ...this.size(),
      series,
      bands: bands.map(([upper, lower]) => ({ series: [upper, lower], fill: () => paint(...lines[upper - 1].fill) })),
      scales: { x: { time: true, range: () => this.range }, y: { range: (_, low, high) => this.upTo(high) } },
      axes: [this.timeAxis(), this.valueAxis()],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.read(plot)], draw: [(plot) => this.name(plot)] },
      padding: [12, 18, 0, 0],
    };
    this.plot = new uPlot(options, columns, this.canvas);
  }

  /** From zero, so that half as high is half as much. */
  upTo(high) {
    return [0, Math.max(high ?? 0, this.least) * 1.08];
  }

  size() {
    return { width: Math.max(120, this.canvas.clientWidth), height: this.height };
  }

  timeAxis() {
    return {
      ...plain(),
      space: TICKS_PX,
      size: 26,
      values: (_, splits) => splits.map((timeS) => (timeS % 60 ? clock(timeS) : minute(timeS))),
      grid: { show: false },
    };
  }

  valueAxis() {
    return { ...plain(), size: 56, space: 34, values: (_, splits) => splits.map((value) => this.tick(value)) };
  }

  /** What the pointer is at, as a line of text above the chart. */
  read(plot) {
    const at = plot.cursor.idx;
    const timeS = at === null || at === undefined ? null : plot.data[0][at];
    const told = this.lines.flatMap((line, index) => {
      const value = (line.told ?? plot.data[index + 1])[at];
      return value === null || value === undefined ? [] : [`${line.label} ${this.format(value)}`];
    });
    say(this.readout, timeS === null || !told.length ? "" : `${clock(timeS)} · ${told.reverse().join(" · ")}`);
  }

  /** Names at the right end of lines that ask for one. */
  name(plot) {
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.font = `600 ${12 * devicePixelRatio}px ${getComputedStyle(document.body).fontFamily}`;
    ctx.textAlign = "right";
    this.lines.forEach((line, index) => {
      const value = plot.data[index + 1].findLast((one) => one !== null && one !== undefined);
      if (!line.named || value === undefined) return;
      const y = plot.valToPos(value, "y", true);
      const place = [line.named, bbox.left + bbox.width - 4, Math.max(y - 6 * devicePixelRatio, bbox.top + 4)];
      [ctx.strokeStyle, ctx.fillStyle, ctx.lineWidth] = [colour("card"), colour(line.colour), 4 * devicePixelRatio];
      ctx.strokeText(...place);
      ctx.fillText(...place);
    });
    ctx.restore();
  }

  /** Read out slowly: words for the same picture need not change every second. */
  describe(label, picture) {
    if (picture === this.described && Date.now() - this.describedMs < 10_000) return;
    [this.described, this.describedMs] = [picture, Date.now()];
    this.canvas.setAttribute("aria-label", label);
  }

  repaint() {
    this.plot?.redraw(false, true);
  }
}

function seriesOf(line) {
  return {
    label: line.label,
    stroke: () => colour(line.colour),
    width: line.width ?? 1.5,
    dash: line.dash,
    paths: line.stepped ? uPlot.paths.stepped({ align: 1 }) : undefined,
    fill: line.fill && !line.banded ? () => paint(...line.fill) : undefined,
    points: { show: false },
    spanGaps: false,
  };
}

const plain = () => ({
  stroke: () => colour("soft"),
  font: `12px ${getComputedStyle(document.body).fontFamily}`,
  grid: { stroke: () => colour("line"), width: 1 },
  ticks: { show: false },
  border: { show: false },
});

/** Full for what was measured, hatched for what was modelled, dotted for what was assumed. */
function paint(name, quality) {
  const tile = document.createElement("canvas");
  const size = TILE * Math.max(1, Math.round(devicePixelRatio));
  [tile.width, tile.height] = [size, size];
  const ctx = tile.getContext("2d");
  ctx.fillStyle = ctx.strokeStyle = colour(name);
  ctx.globalAlpha = quality === "measured" ? 0.3 : 0.12;
  ctx.fillRect(0, 0, size, size);
  ctx.globalAlpha = 0.55;
  ctx.lineWidth = size / 6;
  if (quality === "modelled") stroke(ctx, size);
  if (quality === "assumed") ctx.fillRect(size / 3, size / 3, size / 3, size / 3);
  return ctx.createPattern(tile, "repeat");
}

function stroke(ctx, size) {
  ctx.beginPath();
  for (const shift of [-size, 0, size]) {
    ctx.moveTo(shift - 1, size + 1);
    ctx.lineTo(shift + size + 1, -1);
  }
  ctx.stroke();
}
