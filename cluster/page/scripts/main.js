// Starts the page: what the stream says goes to the cards that show it.

import { path } from "./asking.js";
import { at, say } from "./dom.js";
import { clock, day, fixed, span, text, watts, zone } from "./format.js";
import { showHistory } from "./history.js";
import { explainKnown } from "./known.js";
import { LimitsCard } from "./limits.js";
import { MixCard } from "./mix.js";
import { showNotes } from "./notes.js";
import { pointOf, Points } from "./points.js";
import { PowerCard } from "./power.js";
import { Stream } from "./stream.js";
import { startTheme } from "./theme.js";
import { showToday } from "./today.js";
import { startTrace } from "./trace.js";
import { TrafficCards } from "./traffic.js";

const STATES = {
  connecting: "Connecting",
  live: "Live",
  reconnecting: "Reconnecting",
  gone: "Nobody can tell now",
  off: "Nothing is counted",
  paused: "Paused",
};

class Page {
  constructor() {
    this.points = new Points();
    this.told = null;
    this.heardMs = 0;
    this.state = "connecting";
    this.why = "";
    const { units } = JSON.parse(at("facts").textContent);
    [this.power, this.traffic, this.mix, this.limits] = [
      new PowerCard(),
      new TrafficCards(),
      new MixCard(),
      new LimitsCard(units),
    ];
    at("range").addEventListener("change", () => this.render());
    at("history").addEventListener("toggle", () => this.render());
    startTheme(() => this.repaint());
    explainKnown();
    startTrace();
    say(at("zone"), zone());
    setInterval(() => this.age(), 1000);
    this.stream = new Stream(
      path("v1/live"),
      (event, data) => this.hear(event, data),
      (state, why) => this.become(state, why),
    );
    this.stream.open();
  }

  get spanS() {
    return Number(document.querySelector("#range input:checked").value);
  }

  hear(event, data) {
    if (event === "history") this.points.take(data);
    if (event === "window") {
      if (data.time_s !== this.told?.time_s) this.heardMs = performance.now();
      this.told = data;
      this.stream.silentS = Math.max(30, 3 * data.window_s);
      this.points.add(pointOf(data));
      this.render();
    }
  }

  become(state, why) {
    [this.state, this.why] = [state, why];
    this.age();
  }

  /** How old the newest figures are, which every reader of them should know. */
  age() {
    const newestS = this.told?.time_s ?? this.points.all.at(-1)?.time_s;
    const ageS = newestS ? this.ageOf(newestS) : null;
    const late = this.state === "live" && this.told && ageS > 5 + 3 * this.told.window_s;
    const state = late ? "late" : this.state;
    document.body.dataset.state = state;
    say(at("state-word"), late ? "No new figures" : STATES[state]);
    say(at("state-age"), ageS === null ? "" : state === "live" ? clock(newestS) : `newest figures ${span(ageS)} old`);
    say(at("state-why"), this.why);
    at("state-why").hidden = !this.why;
  }

  /** Since a window was heard, for the browser's clock may be wrong; by it only where nothing but history is known. */
  ageOf(newestS) {
    return (this.told ? performance.now() - this.heardMs : Date.now() - 1000 * newestS) / 1000;
  }

  render() {
    const { told, points, spanS } = this;
    if (!told) return;
    document.body.dataset.loaded = "true";
    document.title = told.power?.power_w ? `${text(watts(told.power.power_w))} · GreenFlow` : "GreenFlow";
    showNotes(told.notes);
    this.power.render(told, points, spanS);
    showToday(told);
    this.traffic.render(told, points, spanS);
    this.mix.render(told, points, spanS);
    this.limits.render(told, points, spanS);
    showHistory(points, spanS);
    say(at("policy"), policySays(told.policy));
    say(at("ledger"), told.energy ? `The ledger begins ${day(told.energy.since_s)}.` : "");
    this.age();
  }

  repaint() {
    for (const chart of [this.power?.chart, ...Object.values(this.traffic?.charts ?? {})]) chart?.repaint();
  }
}

function policySays(policy) {
  if (!policy) return "No policy decides here.";
  const stale = policy.stale ? " It is stale: the controller has not confirmed it." : "";
  const chains = `${fixed(policy.available)} of ${fixed(policy.chains)} chains are available.`;
  return `Policy ${policy.version} of reward model ${policy.reward_model}: ${chains}${stale}`;
}

new Page();
