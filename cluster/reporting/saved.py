"""What the policy saved, as the standing experiment has it: in a report for all of the experiment's time."""

import sqlite3

from pydantic import BaseModel, ConfigDict

from allocator.savings import Figure, Saved, estimate
from allocator.savings.saved import restored
from cluster.ledger.marks import state_of
from cluster.outcomes.account import KEY_BYTES
from cluster.outcomes.payload import NO_FEEDBACK

SAVINGS = "savings"


class Bounded(BaseModel):
    """A value, and the bounds of its 95% confidence sequence: look as often as you like."""

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float


class SavedOf(BaseModel):
    """Of one quantity, the static chain's less the policy's; or why it is not known. Below zero: more is spent."""

    model_config = ConfigDict(frozen=True)

    per_request: Bounded | None
    relative: Bounded | None
    total: Bounded | None
    reason: str


class SavingsReport(BaseModel):
    """Against users whose requests ran the static chain, since they are held back; not of the report's period."""

    model_config = ConfigDict(frozen=True)

    policy_requests: int
    holdback_requests: int
    energy_j: SavedOf
    flops: SavedOf
    co2e_g: SavedOf
    reward: SavedOf


def savings_of(db: sqlite3.Connection) -> SavingsReport | None:
    """What the ledger keeps of it; None for nothing that can be read."""
    kept = state_of(db, SAVINGS)
    if kept is None:
        return None
    try:
        sums = restored(kept.value[KEY_BYTES:])
    except ValueError:
        return None
    found = estimate(sums)
    reward = _of(found.reward)
    if not found.reward.static.value and not found.reward.policy.value:
        reward = SavedOf(per_request=None, relative=None, total=None, reason=NO_FEEDBACK)
    return SavingsReport(
        policy_requests=found.policy_requests,
        holdback_requests=found.holdback_requests,
        energy_j=_of(found.energy_j),
        flops=_of(found.flops),
        co2e_g=_of(found.grams),
        reward=reward,
    )


def _of(saved: Saved) -> SavedOf:
    return SavedOf(
        per_request=_bounded(saved.per_request),
        relative=_bounded(saved.relative),
        total=_bounded(saved.total),
        reason=saved.reason,
    )


def _bounded(figure: Figure | None) -> Bounded | None:
    if figure is None:
        return None
    return Bounded(value=figure.value, low=figure.sequential.low, high=figure.sequential.high)
