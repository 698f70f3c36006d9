"""How good chances of a click are on exposures that they were not fitted on."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from models.training.measure import auc

BINS = 10
LEAST_CHANCE = 1e-6
Chances = NDArray[np.float64]
Clicks = NDArray[np.bool_]


class Bin(BaseModel):
    """A tenth of the exposures, by their chance: how many, the mean chance, and the share that was clicked."""

    model_config = ConfigDict(frozen=True)

    exposures: int
    chance: float
    clicked: float


class ClickQuality(BaseModel):
    """One way to tell chances, judged.

    auc                a clicked exposure's chance to stand above another one
    auc_within_users   the same among the exposures of one user: what tells items apart, and not users
    log_loss           mean, in nats
    calibration_error  mean over the bins of |mean chance - share clicked|, weighted by exposures
    """

    model_config = ConfigDict(frozen=True)

    name: str
    exposures: int
    auc: float
    auc_within_users: float
    log_loss: float
    calibration_error: float
    bins: tuple[Bin, ...]


def judge(name: str, chances: Chances, clicked: Clicks, users: NDArray[np.integer]) -> ClickQuality:
    """Chances, clicks and users of exposures, each (n,)."""
    bins = tuple(_bins(chances, clicked))
    off = sum(one.exposures * abs(one.chance - one.clicked) for one in bins)
    return ClickQuality(
        name=name,
        exposures=len(chances),
        auc=auc(chances.astype(np.float32), clicked),
        auc_within_users=_auc_within(chances, clicked, users),
        log_loss=log_loss(chances, clicked),
        calibration_error=off / len(chances),
        bins=bins,
    )


def log_loss(chances: Chances, clicked: Clicks) -> float:
    """Mean negative log-likelihood, in nats; chances are kept off 0 and 1."""
    kept = np.clip(chances, LEAST_CHANCE, 1 - LEAST_CHANCE)
    return float(-np.where(clicked, np.log(kept), np.log1p(-kept)).mean())


def _bins(chances: Chances, clicked: Clicks) -> Iterator[Bin]:
    for part in np.array_split(np.argsort(chances, kind="stable"), BINS):
        if len(part):
            yield Bin(exposures=len(part), chance=float(chances[part].mean()), clicked=float(clicked[part].mean()))


def _auc_within(chances: Chances, clicked: Clicks, users: NDArray[np.integer]) -> float:
    """Mean over users of their AUC, weighted by their pairs of a clicked and another exposure; NaN without any."""
    order = np.argsort(users, kind="stable")
    _, first = np.unique(users[order], return_index=True)
    total = pairs = 0.0
    for mine in np.split(order, first[1:]):
        hits = int(clicked[mine].sum())
        if weight := hits * (len(mine) - hits):
            total += weight * auc(chances[mine].astype(np.float32), clicked[mine])
            pairs += weight
    return total / pairs if pairs else float("nan")
