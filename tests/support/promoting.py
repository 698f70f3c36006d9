"""Reward models as bytes, and a ledger that fails when it is told to."""

import numpy as np

from cluster.ledger.changes import LimitChange
from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.promotion.desk import ModelDesk
from cluster.promotion.model import Model, name_of, sha256_of_bytes
from models.errors import FixFile, TryAgain

OWN, A, B, C = b"own", b"model a", b"model b", b"model c"
BROKEN = b"broken"
KNOWN = np.ones((2, 3), np.float32)


def name(content: bytes) -> str:
    return name_of(sha256_of_bytes(content))


def try_out(content: bytes, called: str) -> np.ndarray:
    if content.startswith(BROKEN):
        raise FixFile(called, "reward", "predicts NaN or infinity")
    return KNOWN * len(content)


def desk_on(ledger: Ledger, own: bytes = OWN) -> ModelDesk:
    """As a controller that starts, before it has read the ledger."""
    return ModelDesk(Model(name(own), sha256_of_bytes(own), own, KNOWN), ledger, try_out)


def opened(ledger: Ledger, own: bytes = OWN) -> ModelDesk:
    """As a controller that starts."""
    desk = desk_on(ledger, own)
    assert desk.take_up(0.0)
    return desk


class Locked(Ledger):
    """A ledger in memory that somebody else holds for a while."""

    def __init__(self) -> None:
        super().__init__(None)
        self.writes = self.reads = True

    def remember(self, states: tuple[State, ...], changes: tuple[LimitChange, ...] = ()) -> None:
        if not self.writes:
            raise TryAgain("another process is writing to it")
        super().remember(states, changes)

    def state(self, key: str) -> State | None:
        if not self.reads:
            raise TryAgain("another process is writing to it")
        return super().state(key)
