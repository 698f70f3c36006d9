// Which variants run in each stage, on how many items, and how that has changed.

import { at, bar, el, say, show } from "./dom.js";
import { fixed, percent } from "./format.js";
import { actionKey } from "./points.js";
import { spark } from "./spark.js";

const MOST = 6;
const EVERY_MS = 5000;

export class MixCard {
  constructor() {
    this.drawnMs = 0;
  }

  /** Shares change every second; lines of the last hour need not. */
  render({ mix, policy, requests }, points, spanS) {
    say(at("mix-says"), mixSays(policy, mix, requests));
    const key = JSON.stringify(mix);
    if (key === this.key && Date.now() - this.drawnMs < EVERY_MS) return;
    [this.key, this.drawnMs] = [key, Date.now()];
    const last = points.last(spanS);
    show(
      at("mix"),
      `${key} ${this.drawnMs}`,
      mix.map(({ stage, actions }) => stageOf(stage, actions, last)),
    );
  }
}

function mixSays(policy, mix, requests) {
  if (!policy) return "No policy decides here: every request runs the static chain of the cascade's file.";
  if (!mix.some(({ actions }) => actions.length)) return "No request was answered in this window.";
  const decided = percent(requests.per_s ? Math.min(1, requests.decided_per_s / requests.per_s) : 0, 0);
  return `${decided} of requests got the chain that they are worth; shares of the last window.`;
}

function stageOf(stage, actions, points) {
  const sorted = [...actions].sort((a, b) => b.share - a.share);
  const rest = sorted.slice(MOST).reduce((sum, one) => sum + one.share, 0);
  const lines = sorted.slice(0, MOST).map((one) => lineOf(stage, one, points));
  if (rest)
    lines.push(
      el(
        "li",
        { class: "soft" },
        el("span", {}, sorted.length - MOST === 1 ? "another one" : `${sorted.length - MOST} others`),
        el("span", { class: "figures" }, percent(rest)),
      ),
    );
  return el("section", { class: "stage" }, el("h3", {}, stage), el("ul", {}, lines));
}

function lineOf(stage, action, points) {
  const values = points.map((point) => (point.mix[stage] ? (point.mix[stage][actionKey(action)] ?? 0) : null));
  const items = action.variant ? el("span", { class: "soft" }, ` ${fixed(action.items)} items`) : null;
  return el(
    "li",
    {},
    el("span", {}, el("b", {}, action.variant ?? "skipped"), items),
    spark(values),
    el("span", { class: "figures" }, percent(action.share)),
    bar(action.share),
  );
}
