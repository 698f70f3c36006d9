"""A click model for KuaiRand: who would click on what, learned from exposures that no cascade was trained on.

Users are split by a hash of their id into four parts, so that no row is ever used twice: `fit` for the weights, `tune`
to choose how strongly they are held back, `calibrate` for Platt's two numbers, `judge` for the report. Weights are
fitted anew on fit and tune together once the choice is made.

What it cannot know: all exposures come from the production policy of those days. Items that policy would never show
to a user are judged by what similar users and items did, and held back towards the mean by the ridge penalty.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from models.errors import FixFile
from models.splits import place_of
from models.training.batches import exposure_batches
from models.training.click_judge import ClickQuality, judge, log_loss
from models.training.click_net import ClickNet
from models.training.export import export
from models.training.fit import prepare
from models.training.networks import Shapes
from models.worlds.base import Log
from models.worlds.kuairand import TEST_DAYS, KuaiRand

SALT = "click model "
SHARES = {"fit": 0.5, "tune": 0.1, "calibrate": 0.2, "judge": 0.2}
STEPS = 150
RATE_PRIOR = 20.0
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


class Tried(BaseModel):
    """One strength that was tried: its log-loss on the users of `tune`, in nats."""

    model_config = ConfigDict(frozen=True)

    effects: float
    factors: float
    number: int
    log_loss: float


class ClickReport(BaseModel):
    """What was fitted on what, and how good it is on users that it never saw.

    exposures    of each part, by its name; and its users
    chosen       among `tried`
    scale, shift Platt's: calibrated logit = scale * logit + shift
    judged       on all exposures of the part `judge`: the model, then base rates to compare with
    test_days    the same on its exposures of the test days alone
    """

    model_config = ConfigDict(frozen=True)

    exposures: dict[str, int]
    users: dict[str, int]
    tried: tuple[Tried, ...]
    chosen: Tried
    scale: float
    shift: float
    judged: tuple[ClickQuality, ...]
    test_days: tuple[ClickQuality, ...]


@dataclass(frozen=True)
class Part:
    """Exposures as tensors: user (R, Fu), history (R, L), item (n, Fi), row and click (n,); and their users."""

    user: Tensor
    history: Tensor
    item: Tensor
    row: Tensor
    click: Tensor
    of_user: NDArray[np.int64]
    day: NDArray[np.int64]

    @classmethod
    def of(cls, log: Log, requests: NDArray[np.bool_]) -> "Part":
        """The exposures of these requests, (R,) true where wanted."""
        part = log.only(requests)
        [batch] = exposure_batches(part, len(part), rng=None)
        users, day = part.user_row[part.request].astype(np.int64), part.day[part.request].astype(np.int64)
        return cls(batch.user, batch.history, batch.item, batch.row, batch.click, users, day)

    @property
    def clicked(self) -> NDArray[np.bool_]:
        """(n,)."""
        found: NDArray[np.bool_] = self.click.numpy() > 0
        return found


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
    return _report(network, parts, tried, chosen)


def split(data: KuaiRand) -> dict[str, Part]:
    """The four parts, by name. Raises FixFile when one of them holds nothing."""
    ids = data.world.users.ids
    places = place_of(ids.tolist(), SALT)
    borders = np.cumsum(list(SHARES.values()))[:-1]
    belongs = np.digitize(places, borders)[data.unseen.user_row]
    parts = {}
    for at, name in enumerate(SHARES):
        if not (belongs == at).any():
            raise FixFile(data.report.folder, "", f"no exposures to {name} a click model on; it needs more users")
        parts[name] = Part.of(data.unseen, belongs == at)
    return parts


def chances(network: nn.Module, part: Part) -> NDArray[np.float64]:
    """The chance of a click on each exposure, (n,)."""
    network.eval()
    with torch.no_grad():
        logits: Tensor = network(part.user, part.history, part.item, part.row)
    found: NDArray[np.float64] = torch.sigmoid(logits.double()).numpy()
    return found


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


def _report(network: ClickNet, parts: dict[str, Part], tried: Sequence[Tried], chosen: Tried) -> ClickReport:
    seen, held = (parts["fit"], parts["tune"]), parts["judge"]
    told = {"click model": chances(network, held)} | _base_rates(seen, held)
    last = np.isin(held.day, TEST_DAYS)
    return ClickReport(
        exposures={name: len(part.click) for name, part in parts.items()},
        users={name: len(np.unique(part.of_user)) for name, part in parts.items()},
        tried=tuple(tried),
        chosen=chosen,
        scale=float(network.scale),
        shift=float(network.shift),
        judged=tuple(judge(name, p, held.clicked, held.of_user) for name, p in told.items()),
        test_days=tuple(judge(name, p[last], held.clicked[last], held.of_user[last]) for name, p in told.items()),
    )


def _base_rates(seen: Sequence[Part], held: Part) -> dict[str, NDArray[np.float64]]:
    """What is told without a model: the rate of all exposures, of their tab, of the item's past rate and tab."""
    clicks = np.concatenate([part.clicked for part in seen])

    def rate_by(keys: Callable[[Part], NDArray[np.int64]]) -> NDArray[np.float64]:
        known = np.concatenate([keys(part) for part in seen])
        wanted = keys(held)
        size = int(max(known.max(), wanted.max())) + 1
        shown, clicked = np.bincount(known, minlength=size), np.bincount(known, clicks, minlength=size)
        rates = (clicked + RATE_PRIOR * clicks.mean()) / (shown + RATE_PRIOR)
        found: NDArray[np.float64] = rates[wanted]
        return found

    tab = lambda part: part.user[part.row, 0].numpy()  # noqa: E731
    return {
        "overall rate": rate_by(lambda part: np.zeros(len(part.click), dtype=np.int64)),
        "rate of the tab": rate_by(tab),
    }
