"""Measures how much of what a shift costs is won back by a reward model that is trained from the log.

python tests/bench/retrain.py [--shift tastes,ranker,nothing] [--explore 0.01,0.05] [--requests 200000] [--json FILE]

tastes  on phones users have enough of what they clicked last, elsewhere they want more of it (models/worlds/shifted.py)
ranker  the dearest ranker scores all items alike, as if its features had stopped to arrive
nothing no shift: a cascade that begins with a guess instead of a reward model (`greenflow train-reward --first`)

The demo cascade serves a day of traffic after the shift by its own reward model, which is from before it; a share of
the requests explores; `greenflow train-reward --log` makes a candidate of the log. Then users who were not in the log
are given chains within the same budget by each model. `oracle` is the same network trained on what every chain truly
earns from every user in the log. Recovered is (candidate - old) / (oracle - old), with a bootstrap interval over those
users.
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]

from machine import describe  # noqa: E402
from retrain_world import HORIZON_S, NOTHING, SHIFTS, Traffic, Users, predictions  # noqa: E402

from allocator.choice import Floats  # noqa: E402
from allocator.importance import importance  # noqa: E402
from allocator.ope.targets import best_of  # noqa: E402
from allocator.violations import stages_to_free, violations  # noqa: E402
from cluster.candidate import read_candidate  # noqa: E402
from cluster.commands.train_reward import command  # noqa: E402
from cluster.config import DEMO  # noqa: E402

BUDGETS = (0.1, 0.2, 0.4)
NO_LOSS = 0.01
"""Where the shift costs less than this share of the oracle's reward, there is nothing to win back."""
DRAWS = 400


@dataclass(frozen=True)
class Recovered:
    """At one budget: what each earns a request, and the share of the loss that the candidate wins back."""

    budget: float
    before: float
    old: float
    candidate: float
    oracle: float
    perfect: float
    recovered: float
    low: float
    high: float


def oracle(users: Users, truth: Floats) -> NDArray[np.float32]:
    """Predictions of the network when it is trained on the whole truth of the users in the log, (U, J)."""
    from cluster.commands.retrain import context_shape
    from models.training.reward_fit import Examples, RewardFit, fit_reward, predict
    from models.training.reward_net import RewardNet
    from models.training.reward_shape import ChainShape

    rows = np.flatnonzero(~users.held)
    labels = truth[rows].astype(np.float32)
    free = stages_to_free(violations(users.space, labels))
    actions = [[(a.variant, a.items) for a in chain.actions] for chain in users.space]
    shape, chains = context_shape(users.cascade), ChainShape.of(users.cascade.spec, actions, free)
    validates = np.random.default_rng(0).random(len(rows)) < 0.15
    weights = importance(labels, users.space.flops)
    train, valid = (Examples(users.contexts[rows[of]], labels[of], weights) for of in (~validates, validates))
    network = fit_reward(lambda: RewardNet(shape, chains), train, valid, RewardFit(), lambda *_: None)
    return predict(network, users.contexts)


def recovered(
    users: Users, before: Floats, after: Floats, candidate: NDArray[np.float32], best: NDArray[np.float32]
) -> list[Recovered]:
    """At every budget."""
    found = []
    for share in BUDGETS:
        budget = users.budget(share)
        rows = {
            name: users.earned(model, truth, budget)
            for name, model, truth in (
                ("before", users.predicted, before),
                ("old", users.predicted, after),
                ("candidate", candidate, after),
                ("oracle", best, after),
                ("perfect", after, after),
            )
        }
        rng, count = np.random.default_rng(0), int(users.held.sum())
        won, lost = rows["candidate"] - rows["old"], rows["oracle"] - rows["old"]
        drawn = [rng.integers(0, count, count) for _ in range(DRAWS)]
        low, high = np.quantile([won[of].mean() / lost[of].mean() for of in drawn], [0.025, 0.975])
        means = {name: float(values.mean()) for name, values in rows.items()}
        found.append(
            Recovered(share, **means, recovered=float(won.mean() / lost.mean()), low=float(low), high=float(high))
        )
    return found


def true_difference(users: Users, after: Floats, candidate: NDArray[np.float32], price: float) -> float:
    """By how much the candidate's policy earns more than the current one's from users in the log, less the price."""
    rows = ~users.held
    penalties = np.broadcast_to((users.space.flops * price).astype(np.float32), users.predicted[rows].shape)
    net = after[rows] - users.space.flops * price
    everyone = np.arange(int(rows.sum()))
    chosen = [net[everyone, best_of(model[rows], penalties)].mean() for model in (candidate, users.predicted)]
    return float(chosen[0] - chosen[1])


def one(users: Users, worlds: tuple[Any, Any], best: Any, traffic: Traffic, say: Any) -> dict[str, Any]:
    """Serve, log, retrain and judge once."""
    before, after = (world.sum(axis=2, dtype=np.float64) for world in worlds)
    with tempfile.TemporaryDirectory() as folder:
        log, out = Path(folder) / "log", Path(folder) / "candidate"
        price = traffic.log(users, worlds[1], log)
        say(f"logged {traffic.requests:,} requests, {traffic.explored:.0%} explored; training")
        options = ["--cascade", str(users.folder), "--log", str(log), "--out", str(out), "--horizon", str(HORIZON_S)]
        command.main(options, standalone_mode=False)
        candidate = predictions(users.folder, users.cascade, users.space, users.contexts, out / "reward.onnx")
        evaluation = read_candidate(out).evaluation
    return {
        "requests": traffic.requests,
        "explored": traffic.explored,
        "budgets": [asdict(at) for at in recovered(users, before, after, candidate, best)],
        "true_difference": true_difference(users, after, candidate, price),
        "evaluation": evaluation.model_dump(),
    }


def table_of(shift: str, runs: list[dict[str, Any]]) -> Table:
    """For people."""
    table = Table("requests", "explored", "budget", "before", "old", "candidate", "oracle", "perfect", "recovered, 95%")
    table.title = f"Shift: {shift}. Reward of a request, users who were not in the log"
    for run in runs:
        for at in run["budgets"]:
            names = ("before", "old", "candidate", "oracle", "perfect")
            lost = at["oracle"] - at["old"] >= NO_LOSS * at["oracle"]
            share = f"{at['recovered']:.0%} ({at['low']:.0%} to {at['high']:.0%})" if lost else "nothing was lost"
            figures = [f"{at[name]:.3f}" for name in names]
            table.add_row(f"{run['requests']:,}", f"{run['explored']:.0%}", f"{at['budget']:.0%}", *figures, share)
    return table


def verdicts_of(shift: str, runs: list[dict[str, Any]]) -> Table:
    """What the command said of each candidate, and what is true."""
    headers = (
        "verdict",
        "net difference by log, 95%",
        "by kinds, cautiously",
        "by kinds",
        "true",
        "error less by",
        "worth requests",
        "by kinds",
    )
    table = Table("requests", "explored", *headers)
    table.title = f"Shift: {shift}. What the log says of the candidate"
    for run in runs:
        found = run["evaluation"]
        nets = [found["difference"]["net"][name] for name in ("dr", "kinds_cautious", "kinds")]
        spans = [" to ".join("none" if n[end] is None else f"{n[end]:+.3f}" for end in ("low", "high")) for n in nets]
        figures = (*spans, f"{run['true_difference']:+.3f}", f"{found['error']['value']:+.1%}")
        sizes = [f"{found['candidate'][name]:,.0f}" for name in ("effective_size", "effective_kind_size")]
        table.add_row(f"{run['requests']:,}", f"{run['explored']:.0%}", found["verdict"], *figures, *sizes)
    return table


def _numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


@click.command()
@click.option("--shift", default=",".join(SHIFTS), show_default=True, help=f"Which, of these and {NOTHING}.")
@click.option("--explore", default="0.01,0.05", show_default=True, help="Shares of requests that explore.")
@click.option("--requests", default="50000,200000", show_default=True, help="Logged requests.")
@click.option("--served", type=float, default=0.4, show_default=True, help="The budget at which the log is served.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--cache", type=click.Path(path_type=Path), default=ROOT / "out" / "retrain-lists.npy", show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here.")
def main(
    shift: str, explore: str, requests: str, served: float, seed: int, cache: Path, json_file: Path | None
) -> None:
    """Measure what retraining from the log wins back. Never judges: the exit status is 0 unless something breaks."""
    progress, console = Console(stderr=True, highlight=False), Console(width=None if sys.stdout.isatty() else 160)
    document: dict[str, Any] = {"machine": describe(ROOT), "served": served, "seed": seed}
    progress.print("running every chain for every user")
    demo, folder = Users.of(DEMO, cache), tempfile.TemporaryDirectory()
    for name in shift.split(","):
        users = demo.with_first(Path(folder.name) / "first") if name == NOTHING else demo
        worlds = users.worlds(name)
        progress.print(f"{name}: training the oracle")
        best = oracle(users, worlds[1].sum(axis=2, dtype=np.float64))
        runs = []
        for explored in _numbers(explore):
            for count in _numbers(requests):
                traffic = Traffic(int(count), explored, users.budget(served), seed)
                runs.append(one(users, worlds, best, traffic, progress.print))
                console.print(table_of(name, runs[-1:]))
        console.print(table_of(name, runs))
        console.print(verdicts_of(name, runs))
        document[name] = runs
        if json_file is not None:
            json_file.parent.mkdir(parents=True, exist_ok=True)
            json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
