"""A click model for KuaiRand: who would click on what, learned from exposures that no cascade was trained on.

Users are split by a hash of their id into four parts: `fit` for the weights, `tune` to choose how strongly they are
held back, `calibrate` for Platt's two numbers, `judge` for the report alone. Weights are fitted anew on fit and tune
together once the choice is made.

What it cannot know: all exposures come from the production policy of those days. Items that policy would never show
to a user are judged by what similar users and items did, and held back towards the mean by the ridge penalty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from models.training.click_judge import log_loss
from models.training.click_net import ClickNet
from models.training.click_parts import Part, chances, split
from models.training.click_report import ClickReport, Tried, report_of
from models.training.export import export
from models.training.fit import prepare
from models.training.networks import Shapes
from models.worlds.kuairand import KuaiRand

STEPS = 150
Tell = Callable[[float, str], None]


@dataclass(frozen=True)
class Ridge:
    """How strongly the weights are held back: prior precision of effects and of factors; how many factors."""

    effects: float
    factors: float = 0.0
    number: int = 0


EFFECTS = (30.0, 10.0, 3.0, 1.0)
FACTORS = ((2, 300.0), (2, 100.0))
TOLERANCE = 5e-4
"""Log-loss, in nats, that is given away for a simpler model."""


def fit_click_model(data: KuaiRand, out: Path, seed: int = 0, tell: Tell = lambda *_: None) -> ClickReport:
    """Fit a click model to what no cascade has seen, write it to `out` as ONNX, and judge it.

    Raises FixFile naming the data when a part holds no exposures, GreenFlowError when the ONNX file disagrees.
    """
    shapes, parts = Shapes.of(data.world), split(data)
    rng = prepare(seed, "click model")
    tried = _try_all(shapes, parts, tell)
    chosen = _simplest(tried)
    tell(0.9, f"{chosen.log_loss:.4f}")
    ridge = Ridge(chosen.effects, chosen.factors, chosen.number)
    network = _fitted(shapes, [parts["fit"], parts["tune"]], ridge)
    _calibrate(network, parts["calibrate"])
    export(network, shapes, out, rng)
    tell(1.0, f"{chosen.log_loss:.4f}")
    return report_of(network, parts, tried, chosen)


def _simplest(tried: Sequence[Tried]) -> Tried:
    """The first that is as good as the best, but for the tolerance; the most held back stand first."""
    best = min(one.log_loss for one in tried)
    return next(one for one in tried if one.log_loss <= best + TOLERANCE)


def _try_all(shapes: Shapes, parts: dict[str, Part], tell: Tell) -> list[Tried]:
    """Effects alone first; then, with the best of those, factors besides."""
    tried: list[Tried] = []

    def attempt(ridge: Ridge) -> None:
        network = _fitted(shapes, [parts["fit"]], ridge)
        loss = log_loss(chances(network, parts["tune"]), parts["tune"].clicked)
        tried.append(Tried(effects=ridge.effects, factors=ridge.factors, number=ridge.number, log_loss=loss))
        tell(0.9 * len(tried) / (len(EFFECTS) + len(FACTORS)), f"{min(t.log_loss for t in tried):.4f}")

    for strength in EFFECTS:
        attempt(Ridge(strength))
    best = _simplest(tried).effects
    for number, strength in FACTORS:
        attempt(Ridge(best, strength, number))
    return tried


def _fitted(shapes: Shapes, parts: Sequence[Part], ridge: Ridge) -> ClickNet:
    """Minimises the log-loss of all exposures plus the ridge penalty, by L-BFGS over all of them at once."""
    network = ClickNet(shapes, ridge.number)
    count = sum(len(part.click) for part in parts)
    optimiser = torch.optim.LBFGS(
        list(network.parameters()), max_iter=STEPS, history_size=20, line_search_fn="strong_wolfe"
    )
    known = [(part, network.shares(part.history, part.item, part.row)) for part in parts]

    def closure() -> Tensor:
        optimiser.zero_grad()
        total = network.penalty(ridge.effects, ridge.factors)
        for part, shares in known:
            logits = network.logits(part.user, part.history, part.item, part.row, shares)
            total = total + nn.functional.binary_cross_entropy_with_logits(logits, part.click, reduction="sum")
        mean: Tensor = total / count
        mean.backward()  # type: ignore[no-untyped-call]
        return mean

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return network


def _calibrate(network: ClickNet, part: Part) -> None:
    """Platt's scaling: the two numbers that make the logits of these exposures most likely."""
    with torch.no_grad():
        logits = network(part.user, part.history, part.item, part.row).double()
    line = torch.tensor([1.0, 0.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([line], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = nn.functional.binary_cross_entropy_with_logits(line[0] * logits + line[1], part.click.double())
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    network.scale.copy_(line[0].detach())
    network.shift.copy_(line[1].detach())
