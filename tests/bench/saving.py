"""The proof of savings, by meters and holdback: what GET /v1/savings says after minutes of the served demo.

A share of the users is held back: their requests run the static chain. All users click by the truth of the demo's
world, or by a click model of another one (`greenflow replay` fits it), and the server is told of it as feedback. First
it learns what a request draws: all take the static chain, as in production before, then policies choose, without a
limit. Then, with new sums and another draw of who is held back, it serves under a cap. Beside what the server says
stands the truth.
"""

import json
import sys
import tempfile
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from math import isnan
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import click
import numpy as np
from machine import describe
from rich.console import Console
from rich.table import Table
from saving_stand import Meters, Traffic, meters, served
from saving_truth import believed_j, by_arm, chain_rewards, cheapest, mean_cost, mixed, some_pages
from servers import ROOT, Running

from allocator.chains import ChainSpace
from allocator.rewards import ClickChance, ModelChance
from cluster.commands.load import progress_line
from cluster.commands.replay_reward import synthetic_truth
from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.load import LoadPlan
from cluster.traffic.report import LoadReport, Progress
from cluster.traffic.world_users import WorldUsers
from models.loading import Cascade

QUIET_S, SHIP_S, EVERY = 4.0, 8.0, 10
LEDGER = "ledger.sqlite"
QUANTITIES = (("energy_j", "J", 1.0), ("flops", "MFLOP", 1e-6), ("reward", "clicks", 1.0))
Document = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What is served, and for how long, as the options say."""

    stand_in: str
    rate: float
    swing: float
    learn_s: float
    seconds: float
    holdback: float
    horizon_s: float
    cap_share: float
    flops_per_s: float | None
    users: int
    seed: int
    cascade: str
    click_model: str | None

    @property
    def folder(self) -> Path:
        """The cascade's."""
        return Path(self.cascade)

    def settings(self, phase: str) -> dict[str, str]:
        """Of both phases; another salt begins new sums, and holds others back."""
        return {
            "GREENFLOW_EXPERIMENT_HOLDBACK": str(self.holdback),
            "GREENFLOW_EXPERIMENT_SALT": f"{phase}-{self.seed}",
            "GREENFLOW_FEEDBACK_HORIZON_S": str(self.horizon_s),
        }


class Proof:
    """One run; `found` holds what is known so far."""

    def __init__(self, plan: Plan, folder: Path, console: Console) -> None:
        self.plan, self._folder, self._console = plan, folder, console
        self._began_s = time.monotonic()
        self._say("opening the cascade and its world")
        self.cascade = Cascade.open(plan.folder)
        self.space = ChainSpace(self.cascade.spec, len(self.cascade.items))
        self.truth = self._truth()
        self.world = WorldUsers(self.cascade.users.ids, self.cascade.items.ids, self.truth, plan.seed)
        self.found: Document = {"plan": asdict(plan)}

    def _truth(self) -> ClickChance:
        if self.plan.click_model is None:
            return synthetic_truth(self.cascade, 0, None)[1]
        return ModelChance(self.plan.folder, Path(self.plan.click_model))

    def go(self) -> None:
        """All of it, or until Ctrl-C."""
        with meters(self._folder, self.plan.stand_in, self.space) as drawn:
            limit = self._learn(drawn)
            drawn.heard.clear()
            with self._served(drawn, {**self.plan.settings("proof"), **limit}) as server:
                self._say(f"serves under {limit}")
                began_s = time.time()
                load = self._traffic(server, drawn, self.plan.seconds, 1)
                self.found["true_w"] = drawn.truth.power_w(began_s, time.time())
                self._say("the last rewards become final")
                time.sleep(self.plan.horizon_s + SHIP_S)
                self.found |= {"load": load.model_dump(), "savings": _get(server)}
            self._judge(drawn)

    def _served(self, drawn: Meters, settings: dict[str, str]) -> AbstractContextManager[Running]:
        return served(drawn, self._folder / LEDGER, settings, self.plan.folder)

    def _learn(self, drawn: Meters) -> dict[str, str]:
        """Serve without a limit, the static chain first; the limit of the proof, as a setting."""
        with self._served(drawn, self.plan.settings("learn")) as server:
            from_s = time.time()
            time.sleep(QUIET_S)
            quiet_w = drawn.truth.power_w(from_s, time.time())
            self._say(f"learns; {quiet_w:.1f} W without traffic")
            half_s = self.plan.learn_s / 2
            self.found["static_w"] = self._watts(server, drawn, half_s, self.space.static.id)
            free_w = self._watts(server, drawn, half_s, None)
        cap_w = quiet_w + self.plan.cap_share * (free_w - quiet_w)
        self.found |= {"quiet_w": quiet_w, "free_w": free_w, "cap_w": cap_w}
        self.found["free_truth"] = self._arms(drawn)
        self._say(f"{self.found['static_w']:.1f} W with all on the static chain, {free_w:.1f} W without a limit")
        if self.plan.flops_per_s is not None:
            return {"GREENFLOW_ALLOCATOR_FLOPS_PER_S": str(self.plan.flops_per_s)}
        return {"GREENFLOW_LIMITS_POWER_W": f"{cap_w:.2f}"}

    def _watts(self, server: Running, drawn: Meters, seconds: float, chain: str | None) -> float:
        """Serve so long, all by this chain, if any; mean watts of the later half."""
        middle_s = time.time() + seconds / 2
        self._traffic(server, drawn, seconds, 0, chain)
        return drawn.truth.power_w(min(middle_s, time.time() - 1), time.time())

    def _traffic(
        self, server: Running, drawn: Meters, seconds: float, seed: int, chain: str | None = None
    ) -> LoadReport:
        def tell(second: Progress) -> None:
            if round(second.elapsed_s) % EVERY == 0:
                self._say(progress_line(second))

        bodies = request_bodies(user_ids(self.plan.folder), self.plan.seed + seed, chain=chain)
        plan = LoadPlan(server.url, bodies, None, self.plan.rate, seconds, seed=self.plan.seed + seed,
                        swing=self.plan.swing, clicks=self.world, on_answer=drawn.heard)  # fmt: skip
        report = Traffic(plan).run(tell)
        if not report.complete and not seed:
            raise KeyboardInterrupt
        return report

    def _arms(self, drawn: Meters) -> Document:
        arms = by_arm(drawn.heard, self.world, self.space, drawn.j_per_flop)
        return {arm: asdict(one) for arm, one in arms.items()}

    def _judge(self, drawn: Meters) -> None:
        arms, pages = self._arms(drawn), some_pages(drawn.heard, self.plan.users)
        self._say(f"every chain for {len(pages)} of the requests")
        self.found["truth"] = arms
        if pages:
            rewards = chain_rewards(self.cascade, self.space, self.truth, pages)
            self.found["equal"] = asdict(cheapest(self.space, rewards, 1.0))
            # On the same requests, so that it does not matter who is held back.
            earned = float(np.mean([chances.sum() for chances in self.world.chances(pages)]))
            share = earned / float(rewards[self.space.static.index])
            self.found["policy_flops"] = arms["policy"]["flops"] / self.space.static.flops
            self.found["policy_reward"] = share
            self.found["as_good"] = asdict(cheapest(self.space, rewards, share))
            self.found["as_good_mix_flops"] = mixed(self.space, rewards, share, self.space.flops)
            joules = believed_j(self._folder / LEDGER, self.cascade, self.space)
            static_j = float(joules[self.space.static.index])
            self.found["policy_believed"] = mean_cost(drawn.heard, self.space, joules) / static_j
            self.found["as_good_mix_believed"] = mixed(self.space, rewards, share, joules)

    def _say(self, line: str) -> None:
        self._console.print(f"{time.monotonic() - self._began_s:5.0f} s  {line}", highlight=False, soft_wrap=True)


def _get(server: Running) -> Document:
    with urlopen(f"{server.url}/v1/savings", timeout=30) as answer:
        found: Document = json.load(answer)
        return found


def show(found: Document, console: Console) -> None:
    """What was found, and what it says."""
    quantities, truth = found["savings"]["quantities"], found["truth"]
    requests = found["savings"]["requests"]
    table = Table("saved per request", "static", "policy", "saved", "fixed 95%", "sequential 95%", "truth",
                  title=f"{requests['policy']:,} requests by policy, {requests['holdback']:,} held back")  # fmt: skip
    for name, unit, scale in QUANTITIES:
        one = quantities[name]
        figure, label = one["per_request"], f"{name.removesuffix('_j')}, {unit}"
        if figure is None:
            table.add_row(label, *["-"] * 5, one["reason"])
            continue
        means = [f"{scale * one[arm]:.4g}" for arm in ("static", "policy")]
        bounds = [_interval(figure[kind], scale, "{:.3g}") for kind in ("fixed", "sequential")]
        table.add_row(label, *means, f"{scale * figure['value']:.3g}", *bounds, _true(truth, name, scale))
    console.print(table)
    for line in lines(found):
        console.print(line, highlight=False, soft_wrap=True)


def _true(truth: Document, name: str, scale: float) -> str:
    known = len(truth) == 2 and truth["policy"][name] is not None
    return f"{scale * (truth['holdback'][name] - truth['policy'][name]):.3g}" if known else "not known"


def lines(found: Document) -> list[str]:
    """The sentences."""
    return [*_at_equal_reward(found["savings"]["quantities"]), *_against_fixed_chains(found), _served_line(found)]


def _at_equal_reward(quantities: Document) -> list[str]:
    energy, reward = (quantities[name]["relative"] for name in ("energy_j", "reward"))
    if energy is None or reward is None:
        return []
    return [
        f"energy at equal reward: at least {100 * energy[kind]['low']:.1f}% below the static chain ({kind}: "
        f"{_interval(energy[kind], 100, '{:.1f}%')}); reward forgone {100 * reward['value']:+.1f}% "
        f"({_interval(reward[kind], 100, '{:+.1f}%')})"
        for kind in ("fixed", "sequential")
    ]


def _against_fixed_chains(found: Document) -> list[str]:
    """What choosing by request adds to any chain that all take."""
    if "equal" not in found:
        return []
    equal, good = found["equal"], found["as_good"]
    mix, flops = found["as_good_mix_flops"], found["policy_flops"]
    believed_mix, believed = found["as_good_mix_believed"], found["policy_believed"]
    return [
        f"the best fixed chain alone, {equal['chain']}: {_fewer(equal['flops'])} FLOPs than static, "
        f"reward {100 * (equal['reward'] - 1):+.1f}%",
        f"the policy: {_fewer(flops)} FLOPs, reward {100 * (found['policy_reward'] - 1):+.1f}% by truth on the same "
        f"requests; of fixed chains {good['chain']} comes to {100 * (good['reward'] - 1):+.1f}% with "
        f"{_fewer(good['flops'])}; {_mix(mix, flops)}",
        f"in joules, as the server thought at its end that chains cost: the policy {_fewer(believed)} than static; "
        f"{_mix(believed_mix, believed)}",
    ]


def _mix(mix: float, policy: float) -> str:
    """Costs of the best mix of two fixed chains that earns as much as the policy, and of that; NaN for no such mix."""
    if isnan(mix):
        return "no mix of two fixed chains earns as much"
    spends = f"choosing by request spends {100 * (policy / mix - 1):+.1f}% against that mix"
    return f"the best mix of two that earns as much, with {_fewer(mix)}: {spends}"


def _served_line(found: Document) -> str:
    clicks, load = found["load"]["clicks"], found["load"]
    return (
        f"{found['true_w']:.1f} W drawn, {found['free_w']:.1f} W before the limit, {found['static_w']:.1f} W with all "
        f"on the static chain, {found['quiet_w']:.1f} W without traffic; feedback {clicks['sent']:,} sent, "
        f"{clicks['failed']:,} failed; requests {load['answered']:,} answered, {load['failed']:,} failed"
    )


def _fewer(share: float) -> str:
    return f"{100 * (1 - share):.1f}% fewer"


def _interval(bounds: Document, scale: float, form: str) -> str:
    return f"{form.format(scale * bounds['low'])} to {form.format(scale * bounds['high'])}"


@click.command(context_settings={"show_default": True})
@click.option("--stand-in", type=click.Choice(["cpu", "flops"]), default="flops", help="Meters follow this machine's"
              " CPU time; or the FLOPs that were answered, as where models are the bulk of the work.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(1), default=300.0, help="Requests a second.")
@click.option("--swing", type=click.FloatRange(0, 1), default=0.0, help="By which share they rise and fall, once a"
              " minute: what chains draw is known better where traffic is not the same all the time.")  # fmt: skip
@click.option("--learn", "learn_s", type=click.FloatRange(5), default=40.0, help="Seconds without a limit; in"
              " the first half of them all take the static chain, as in production before.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(5), default=300.0, help="Seconds under the limit.")
@click.option("--holdback", type=click.FloatRange(0.01, 0.5), default=0.3, help="Share of users that is held back.")
@click.option("--horizon", "horizon_s", type=click.FloatRange(3), default=10.0, help="Rewards are final after so long.")
@click.option("--cap-share", type=click.FloatRange(0.01, 1), default=0.7, help="The power cap: of the watts that"
              " traffic draws without a limit, above those without traffic.")  # fmt: skip
@click.option("--flops-per-s", type=click.FloatRange(0, min_open=True), help="Limit FLOPs instead of power.")
@click.option("--users", type=click.IntRange(50), default=1000, help="Requests by which fixed chains are judged.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of traffic, clicks and who is held back.")
@click.option("--cascade", type=click.Path(exists=True, file_okay=False), default=str(DEMO), show_default="the demo's",
              help="What is served; another one than the demo's needs --click-model.")  # fmt: skip
@click.option("--click-model", type=click.Path(exists=True, dir_okay=False), help="By which users click: the"
              " click-model.onnx that `greenflow replay` leaves beside its table.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(json_file: Path | None, **options: Any) -> None:
    """Measure what allocation saves in the served demo, by meters and holdback, beside the truth.

    Keep the machine quiet with --stand-in cpu: all that works on it draws power. Ctrl-C under the limit ends the
    traffic, and tells what was measured so far; before that, nothing is known.

    \b
    Examples:
      python tests/bench/saving.py --stand-in flops --json out/saving-flops.json
      python tests/bench/saving.py --stand-in cpu --cap-share 0.8 --seconds 600 --json out/saving-cpu.json
      python tests/bench/saving.py --cascade out/kuairand --click-model out/table/click-model.onnx
    """
    if options["click_model"] is None and not Path(options["cascade"]).samefile(DEMO):
        raise click.UsageError("nobody knows how the users of another cascade click: add --click-model")
    progress = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="gfs-") as folder:
        proof = Proof(Plan(**options), Path(folder), progress)
        try:
            proof.go()
        except KeyboardInterrupt:
            progress.print("stopped before anything was measured")
            sys.exit(130)
    show(proof.found, Console(width=None if sys.stdout.isatty() else 150))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"machine": describe(ROOT), **proof.found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
