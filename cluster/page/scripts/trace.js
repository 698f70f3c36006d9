// One request, explained: its chain, its candidates, the joules of each stage, and the chains that were not chosen.

import { ask } from "./asking.js";
import { at, el, say, tag } from "./dom.js";
import { fixed, number, percent, prefixed, text } from "./format.js";
import { badge } from "./known.js";
import { scatter } from "./scatter.js";
import { SortedTable } from "./table.js";

const MOST_CHAINS = 12;
const STRANGER = " not known: cold-start features";
const PER = {
  J: [1, "per joule"],
  g: [1, "per gram of CO₂e"],
  s: [1, "per second of computation"],
  FLOP: [1e9, "per GFLOP"],
};

export function startTrace() {
  at("trace-form").addEventListener("submit", (event) => {
    event.preventDefault();
    trace(at("trace-form").user.value.trim());
  });
}

async function trace(user) {
  if (!user) return answer("user_id: give the id of a user, as 42", "refused");
  at("trace").setAttribute("aria-busy", "true");
  answer("Tracing", "");
  const told = await asked(user);
  at("trace").removeAttribute("aria-busy");
  at("trace-result").hidden = !told.ok;
  if (!told.ok) return answer(told.said, "refused");
  answer(saying(told.body), "fine");
  at("trace-result").replaceChildren(...result(told.body));
}

/** Ids are whole numbers or words: what looks like a number is traced as one, and as a word where that is nobody. */
async function asked(user) {
  const send = (id) => ask("POST", "v1/trace", { body: { user_id: id } });
  if (!/^-?\d{1,15}$/.test(user)) return send(user);
  const told = await send(Number(user));
  if (!told.ok || told.body.user_known) return told;
  const asWord = await send(user);
  return asWord.ok ? asWord : told;
}

function answer(said, kind) {
  at("trace-answer").dataset.kind = kind;
  say(at("trace-answer"), said);
}

function saying({ chains, chain, cost, took_ms: tookMs, degraded, chains_in_all: inAll }) {
  const took = text(prefixed(tookMs / 1000, "s"));
  if (!chains.length) return `No policy decides here, so the static chain ran, in ${took}.`;
  const fixedChain = chains.find((one) => one.static);
  const saved = fixedChain?.cost.energy_j && cost.energy_j ? 1 - cost.energy_j / fixedChain.cost.energy_j : null;
  const share = `${fixed(Math.abs(100 * saved), 0)}% ${saved >= 0 ? "less" : "more"} energy than`;
  const less = saved === null ? "" : `, with ${Math.abs(saved) < 0.005 ? "as much energy as" : share} the static chain`;
  const same = fixedChain?.id === chain.id ? "; it is the static chain" : less;
  const best = `Of ${fixed(inAll)} chains this request got the one of the greatest net value${same}.`;
  return `${best} It took ${took}.${degraded ? " Another one ran than was best: degraded." : ""}`;
}

function result(told) {
  return [head(told), funnel(told), ...(told.chains.length ? [alternatives(told)] : []), items(told)];
}

/** `tower-l 8,000 › ydnn-l 400 › dien 160` */
function inWords(stages, told = () => true) {
  const words = (one, place) => (told(place) ? `${one.variant} ${fixed(one.items)}` : one.variant);
  return stages.map((one, place) => (one.variant ? words(one, place) : `no ${one.stage}`)).join(" › ");
}

/** Whether chains differ in how many items a stage infers: exact recall always infers them all. */
const differing = (chains) => (place) => new Set(chains.map((one) => one.stages[place].items)).size > 1;

function head({ chain, cost, predicted_reward: reward, net, prices, user_id: user, user_known: known }) {
  const facts = [
    ["Chain", inWords(chain.stages)],
    [
      "Energy",
      el("span", {}, `${text(prefixed(cost.energy_j, "J"))} `, cost.energy_j === null ? null : badge(cost.quality)),
    ],
    ["CO₂e", el("span", {}, `${text(prefixed(cost.co2e_g, "g"))} `, cost.co2e_g === null ? null : badge(cost.quality))],
    ["Computation", text(prefixed(cost.flops, "FLOP"))],
    ["Predicted reward", reward === null ? "nobody predicts one here" : number(reward)],
    ["Prices", pricesOf(prices)],
    ["Net value", net === null ? "–" : number(net)],
  ];
  const lines = facts.flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]);
  const stranger = known ? null : el("span", { class: "soft" }, STRANGER);
  const title = el("h3", {}, `User ${user}`, stranger);
  return el("section", { class: "part" }, title, el("dl", { class: "facts" }, lines));
}

/** Those of limits that bind. */
function pricesOf(prices) {
  const bind = prices
    .filter(({ price }) => price > 0)
    .map(({ constraint, price, unit }) => {
      const [size, words] = PER[unit] ?? [1, `per ${unit}`];
      return `${constraint}: ${number(price * size)} ${words}`;
    });
  return bind.join(", ") || "none: no limit binds";
}

/** Bars as long as the logarithm of their items: 8,000 and 10 on one page. */
function funnel({ stages, items: answered, cost }) {
  const most = Math.max(...stages.map((one) => one.items_in), 2);
  const lines = stages.map((one) => stageLine(one, most, cost));
  const end = el(
    "li",
    { class: "end" },
    bars(answered.length, most),
    el("div", {}, el("b", {}, "answer"), el("span", {}, `${answered.length} items`), around(stages, cost)),
  );
  return el(
    "section",
    { class: "part" },
    el("h3", {}, "What became of the candidates"),
    el("ol", { class: "funnel" }, lines, end),
  );
}

/** What the request took besides its stages' models: to be read, gathered, handed about and answered. */
function around(stages, cost) {
  const besides = cost.energy_j - stages.reduce((sum, one) => sum + (one.energy_j ?? 0), 0);
  if (cost.energy_j === null || besides < 0.005 * cost.energy_j) return null;
  return el("span", {}, "work around the stages ", joulesOf(besides, cost));
}

/** With its share of the request's. */
function joulesOf(energyJ, cost) {
  if (energyJ === null) return el("span", { class: "soft" }, "joules not known");
  const share = cost.energy_j ? `, ${percent(energyJ / cost.energy_j)}` : "";
  return el("span", {}, `${text(prefixed(energyJ, "J"))}${share} `, badge(cost.quality));
}

function stageLine(one, most, cost) {
  const spent = one.variant ? joulesOf(one.energy_j, cost) : null;
  const took = one.took_ms === null ? null : el("span", { class: "soft" }, text(prefixed(one.took_ms / 1000, "s")));
  const best = one.best.length
    ? el("span", { class: "soft" }, `best: ${one.best.map((item) => item.item_id).join(", ")}`)
    : null;
  const flow = one.variant ? `${fixed(one.items_in)} → ${fixed(one.items_out)} items` : "skipped";
  return el(
    "li",
    {},
    bars(one.items_in, most),
    el("div", {}, el("b", {}, one.stage), el("span", {}, one.variant ?? "–"), el("span", {}, flow), spent, took, best),
  );
}

function bars(count, most) {
  const inner = el("i");
  inner.style.width = `${(100 * Math.log10(Math.max(1, count) + 1)) / Math.log10(most + 1)}%`;
  return el("span", { class: "width", "aria-hidden": "true" }, inner);
}

function alternatives({ chains }) {
  const unit = chains.some((one) => one.cost.energy_j) ? "J" : "FLOP";
  const spent = (one) => (unit === "J" ? one.cost.energy_j : one.cost.flops);
  const told = differing(chains);
  const dots = chains.map((one) => ({
    name: inWords(one.stages, told),
    x: spent(one),
    y: one.reward,
    chosen: one.chosen,
    static: one.static,
    available: one.available,
  }));
  const table = new SortedTable({
    caption: "All chains of this request",
    columns: columns(unit, spent, told),
    most: MOST_CHAINS,
    sortedBy: 4,
  });
  table.take(chains);
  const quality = unit === "J" ? badge(chains.find((one) => one.cost.quality)?.cost.quality) : null;
  const key = el(
    "p",
    { class: "soft" },
    "Net value is predicted reward less what the chain costs at the prices now: ",
    "of the chains that are available the greatest is chosen. ",
    quality,
  );
  return el(
    "section",
    { class: "part" },
    el("h3", {}, "The chains it could have taken"),
    key,
    el(
      "div",
      { class: "beside" },
      table.node,
      scatter(dots, { x: unit, y: "Predicted reward", room: at("trace").clientWidth - 32 }),
    ),
  );
}

function columns(unit, spent, told) {
  const flags = (one) =>
    [
      one.chosen && tag("chosen"),
      one.static && tag("static"),
      one.available ? null : tag("unavailable", "away"),
    ].filter(Boolean);
  return [
    {
      title: "Chain",
      up: true,
      value: (one) => one.id,
      cell: (one) => el("span", {}, inWords(one.stages, told), " ", flags(one)),
    },
    { title: "Reward", figures: true, value: (one) => one.reward, cell: (one) => number(one.reward) },
    {
      title: unit === "J" ? "Energy" : "FLOPs",
      figures: true,
      up: true,
      value: spent,
      cell: (one) => text(prefixed(spent(one), unit)),
    },
    { title: "Priced", figures: true, up: true, value: (one) => one.priced, cell: (one) => number(one.priced) },
    { title: "Net", figures: true, value: (one) => one.net, cell: (one) => number(one.net) },
  ];
}

function items({ items: answered }) {
  const lines = answered.map(({ item_id: id, score }) =>
    el("li", {}, el("b", {}, String(id)), el("span", { class: "soft" }, number(score))),
  );
  return el("section", { class: "part" }, el("h3", {}, "The answer"), el("ol", { class: "items" }, lines));
}
