"""The report of a click model: what was fitted on what, and how good it is on users that it never saw."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.training.click_judge import ClickQuality, judge
from models.training.click_net import ClickNet
from models.training.click_parts import Part, chances
from models.worlds.kuairand import TEST_DAYS

RATE_PRIOR = 20.0
"""Exposures that the overall rate weighs in the rate of a tab."""


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


def report_of(network: ClickNet, parts: dict[str, Part], tried: Sequence[Tried], chosen: Tried) -> ClickReport:
    """The report of a calibrated network."""
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
    """What is told without a model: the rate of all exposures, and of their tab."""
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
