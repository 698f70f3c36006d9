"""What an ingress replica knows beside the controller: its own policy, and what the policy saves. No Ray here."""

import asyncio
from collections.abc import Callable
from typing import Any

from cluster.deciding import Allocation
from cluster.live.notes import Note, drift_note, stale_note
from cluster.outcomes.shipper import OutcomesDesk
from models.errors import GreenFlowError

SAVINGS_S = 10.0
Payload = dict[str, Any]


class Aside:
    """Used from one event loop, once a window while somebody looks.

    allocation  None where nobody counts
    outcomes    who keeps the account of savings; None where nobody does
    clock       monotonic
    """

    def __init__(
        self, allocation: Allocation | None, outcomes: OutcomesDesk | None, clock: Callable[[], float]
    ) -> None:
        self._allocation, self._outcomes, self._clock = allocation, outcomes, clock
        self._savings: Payload | None = None
        self._drift: list[Note] = []
        self._asked_s = -float("inf")
        self._asking: asyncio.Task[None] | None = None

    def savings(self) -> Payload | None:
        """As `cluster.live.schemas.SavingsOut`, as they were told last; they are asked for anew beside it."""
        if self._outcomes is not None and self._asking is None and self._clock() - self._asked_s >= SAVINGS_S:
            self._asked_s = self._clock()
            self._asking = asyncio.create_task(self._ask(self._outcomes))
        return self._savings

    def policy(self) -> Payload | None:
        """As `cluster.live.schemas.PolicyOut`; None where none decides, or none has come yet."""
        if self._allocation is None or self._allocation.decider is None:
            return None
        follower = self._allocation.follower
        if follower.snapshot is None:
            return None
        policy = follower.snapshot.policy
        return {
            "version": policy.version,
            "reward_model": policy.reward_model,
            "available": int(policy.available.sum()),
            "chains": len(policy.available),
            "stale": follower.stale,
        }

    def notes(self) -> list[Note]:
        """What else is to be said."""
        policy = self.policy()
        if self._allocation is None or policy is None or not policy["stale"]:
            return self._drift
        return [stale_note(self._allocation.follower.age_s), *self._drift]

    async def _ask(self, outcomes: OutcomesDesk) -> None:
        try:
            told = await outcomes.savings()
            self._savings, self._drift = savings_payload(told), drift_note(told)
        except GreenFlowError:  # what was told last stays, and is asked for again
            pass
        finally:
            self._asking = None


def savings_payload(told: Payload) -> Payload:
    """Of what /v1/savings tells, what a page shows: bounds that hold however often one looks."""
    arms = {name: told["requests"][name] for name in ("policy", "holdback")}
    return {"arms": arms} | {name: _saved(told["quantities"][name]) for name in ("energy_j", "reward", "co2e_g")}


def _saved(one: Payload) -> Payload:
    return {"relative": _bounds(one["relative"]), "total": _bounds(one["total"]), "reason": one["reason"]}


def _bounds(figure: Payload | None) -> Payload | None:
    return None if figure is None else {"value": figure["value"], **figure["sequential"]}
