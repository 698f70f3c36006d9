// Limits in force and how they stand; a form that sets them, by the token of who may.

import { ask, fieldOf } from "./asking.js";
import { at, bar, el, say, show, tag } from "./dom.js";
import { number, percent, plain } from "./format.js";
import { spark } from "./spark.js";

const KINDS = { power: "Power", energy: "Energy", carbon: "Carbon", compute: "Computation", flops: "FLOPs" };
const PER = { power: [1, "J"], energy: [1, "J"], carbon: [1, "g"], compute: [1, "s"], flops: [1e9, "GFLOP"] };
const CELLS = { limit: "Is", spend: "Spent", price: "Price", line: "Price over time", reach: "Reach" };
const KEY = "greenflow-token";
const EVERY_MS = 5000;
const NO_POLICY =
  "No policy decides here, so nothing could hold a limit: every request runs the static chain. " +
  "Give the cascade a reward model (greenflow train-reward).";
const NO_LIMIT = "No limit is set: each request gets the chain of the greatest predicted reward.";
const COMMA = "a comma parts thousands for some and decimals for others; write it without one, as 1500 or 1.5";

export class LimitsCard {
  /** units  of each kind of limit */
  constructor(units) {
    this.units = units;
    this.form = at("limit-form");
    const options = Object.keys(units).map((kind) => el("option", { value: kind }, KINDS[kind] ?? kind));
    this.form.kind.replaceChildren(...options);
    this.form.kind.addEventListener("change", () => this.offerUnits());
    this.form.addEventListener("submit", (event) => this.submit(event));
    this.form.remember.addEventListener("change", () => this.keep());
    this.form.token.value = kept() ?? "";
    this.form.remember.checked = Boolean(kept());
    at("clear-dialog").addEventListener("close", () => this.cleared());
    this.offerUnits();
  }

  offerUnits(unit) {
    const units = this.units[this.form.kind.value];
    this.form.unit.replaceChildren(...units.map((one) => el("option", { value: one }, one)));
    if (unit) this.form.unit.value = unit;
  }

  /** What is shown while a person uses the table's buttons stays the same elements. */
  render({ constraints, policy }, points, spanS) {
    at("limits-table").hidden = !constraints.length;
    this.form.hidden = !policy && !constraints.length;
    say(at("limits-says"), policy ? (constraints.length ? "" : NO_LIMIT) : NO_POLICY);
    const key = JSON.stringify(constraints);
    const names = JSON.stringify(constraints.map((one) => one.name));
    if (key === this.key && Date.now() - this.drawnMs < EVERY_MS) return;
    [this.key, this.drawnMs] = [key, Date.now()];
    if (names !== this.names) this.rows = new Map(constraints.map((one) => [one.name, this.row(one.name)]));
    this.names = names;
    show(
      at("limits"),
      names,
      [...this.rows.values()].map((row) => row.node),
    );
    const last = points.last(spanS);
    for (const one of constraints) this.rows.get(one.name).fill(one, last);
  }

  row(name) {
    const cells = Object.fromEntries(
      Object.entries(CELLS).map(([key, title]) => [key, el("td", { "data-title": title })]),
    );
    const change = el(
      "button",
      { type: "button", class: "quiet", "aria-label": `Change ${name}`, click: () => this.change(name) },
      "Change",
    );
    const clear = el(
      "button",
      { type: "button", class: "quiet", "aria-label": `Clear ${name}`, click: () => this.askToClear(name) },
      "Clear",
    );
    const node = el(
      "tr",
      { "data-limit": name },
      el("th", { scope: "row" }, name),
      ...Object.values(cells),
      el("td", { class: "buttons" }, change, clear),
    );
    return { node, fill: (one, points) => this.fill(cells, one, points) };
  }

  fill(cells, one, points) {
    this.now = { ...this.now, [one.name]: one };
    show(cells.limit, `${one.limit} ${one.unit}`, `${plain(one.limit)} `, el("span", { class: "soft" }, one.unit));
    const share = one.spend === null || !one.limit ? null : one.spend / one.limit;
    const used = share === null ? "not known yet" : el("span", { class: "soft" }, percent(share, 0));
    show(
      cells.spend,
      `${one.spend} ${one.limit}`,
      one.spend === null ? "" : `${number(one.spend, 4)} `,
      used,
      bar(share, share > 1 ? "over" : "spent"),
    );
    show(cells.price, `${one.price}`, priceOf(one));
    show(
      cells.line,
      `${points.at(-1)?.time_s}`,
      spark(points.map((point) => point.constraints[one.name]?.price ?? null)),
    );
    const words =
      one.reachable === null
        ? ["not known yet", "soft"]
        : one.reachable
          ? ["within reach", "fine"]
          : ["out of reach", "away"];
    show(cells.reach, words[0], tag(words[0], words[1]));
  }

  change(name) {
    const { kind, limit, unit } = this.now[name];
    Object.assign(this.form.kind, { value: kind });
    this.offerUnits(unit);
    Object.assign(this.form.elements.name, { value: name });
    this.form.limit.value = limit;
    this.form.limit.focus();
    this.form.limit.select();
  }

  askToClear(name) {
    this.clearing = name;
    say(at("clear-name"), name);
    at("clear-dialog").returnValue = "";
    at("clear-dialog").showModal();
  }

  cleared() {
    if (at("clear-dialog").returnValue === "clear") this.send("DELETE", this.clearing);
  }

  submit(event) {
    event.preventDefault();
    const { name, kind, limit, unit } = this.form.elements;
    const stated = limit.value.trim();
    const amount = stated === "" ? NaN : Number(stated);
    if (!name.value.trim()) return this.refuse("name: give the limit a name, as cap", name);
    if (stated.includes(",")) return this.refuse(`limit: ${COMMA}`, limit);
    if (!Number.isFinite(amount)) return this.refuse("limit: give a number", limit);
    this.send("PUT", name.value.trim(), { kind: kind.value, limit: amount, unit: unit.value });
  }

  async send(method, name, body) {
    const token = this.form.token.value.trim();
    if (!token) return this.refuse("token: changing a limit takes a token of GREENFLOW_ADMIN_TOKEN", this.form.token);
    if (this.busy) return;
    this.busy = true;
    this.keep();
    this.answer("Sending", "");
    const told = await ask(method, `v1/constraints/${encodeURIComponent(name)}`, { body, token });
    this.busy = false;
    if (!told.ok) return this.refuse(told.said, this.form.elements[told.status === 401 ? "token" : fieldOf(told.body)]);
    const done = body ? `${name} is now ${plain(body.limit)} ${body.unit}` : `${name} is cleared`;
    this.answer(`${done}. It holds within two windows.`, "fine");
  }

  refuse(said, field) {
    for (const one of this.form.elements) one.removeAttribute("aria-invalid");
    field?.setAttribute?.("aria-invalid", "true");
    this.answer(said, "refused");
    field?.focus?.();
  }

  answer(said, kind) {
    if (kind !== "refused") for (const one of this.form.elements) one.removeAttribute("aria-invalid");
    at("limit-answer").dataset.kind = kind;
    say(at("limit-answer"), said);
  }

  keep() {
    try {
      if (this.form.remember.checked) sessionStorage.setItem(KEY, this.form.token.value.trim());
      else sessionStorage.removeItem(KEY);
    } catch {
      this.form.remember.checked = false;
    }
  }
}

/** Reward per unit of what is limited. */
function priceOf({ kind, price }) {
  if (price === null) return el("span", { class: "soft" }, "not known yet");
  if (!price) return el("span", { class: "soft" }, "0, does not bind");
  const [size, unit] = PER[kind];
  return el("span", {}, `${number(price * size)} `, el("span", { class: "soft" }, `per ${unit}`));
}

/** The token of this tab, where a person asked to keep it. */
function kept() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null;
  }
}
