"""Decisions that wait for their rewards: one block of memory, in which the oldest give way to the newest."""

from collections import deque
from collections.abc import KeysView, Sequence
from dataclasses import dataclass, fields
from itertools import chain, compress
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from cluster.outcomes.records import Decisions


@dataclass(frozen=True, slots=True, eq=False)
class Matured:
    """Decisions whose reward is final: n rows in the order in which they came.

    times_s          (n,) Unix time of the decision
    arms, groups     (n,) as allocator/arms.py assigns them
    chains           (n,)
    predicted        (n,) NaN where nobody predicted
    rewards          (n,) what came, else 0
    policy_versions  (n,) 0 where no policy decided
    whole            (n,) false where memory was too small to wait for as long as the horizon, so that a reward may lack
    """

    times_s: NDArray[np.float64]
    arms: NDArray[np.int8]
    groups: NDArray[np.int16]
    chains: NDArray[np.int32]
    predicted: NDArray[np.float32]
    rewards: NDArray[np.float64]
    policy_versions: NDArray[np.int64]
    whole: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.arms)

    def since(self, time_s: float) -> Self:
        """Those that were decided then or later."""
        kept = self.times_s >= time_s
        return self if kept.all() else type(self)(**{f.name: getattr(self, f.name)[kept] for f in fields(self)})

    @classmethod
    def concat(cls, parts: Sequence["Matured"]) -> Self:
        """One or more of them, in their order."""
        return cls(**{f.name: np.concatenate([getattr(one, f.name) for one in parts]) for f in fields(cls)})


@dataclass(frozen=True, slots=True, eq=False)
class Released:
    """What waits no longer.

    ids      of all that has matured, as they came together
    unheard  of those that gave way before their time while no reward had come: one still may
    """

    matured: Matured
    ids: Sequence[tuple[str, ...]]
    unheard: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """Decisions that came together, in places before `end`; at `due_s` they mature."""

    end: int
    due_s: float
    ids: tuple[str, ...]


class Pending:
    """At most `most` decisions, each in a place of its own that is never given to another.

    Rows lie in arrays of that length at their place modulo `most`: 36 bytes each, and an id in a dict.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._columns: dict[str, NDArray[Any]] = {
            "times_s": np.empty(most), "arms": np.empty(most, np.int8), "groups": np.empty(most, np.int16),
            "chains": np.empty(most, np.int32), "predicted": np.empty(most, np.float32),
            "policy_versions": np.empty(most, np.int64), "rewards": np.empty(most), "heard": np.empty(most, np.uint8),
        }  # fmt: skip
        # One reward at a time is set in them, which a view does faster than an array.
        self._rewards: Any = self._columns["rewards"].data
        self._heard: Any = self._columns["heard"].data
        self._places: dict[str, int] = {}
        self._runs: deque[_Run] = deque()
        self._begin = self._end = 0

    def __len__(self) -> int:
        return self._end - self._begin

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._places

    @property
    def ids(self) -> KeysView[str]:
        """Of all that wait."""
        return self._places.keys()

    def add(self, batches: Sequence[Decisions], due_s: float) -> None:
        """Let decisions wait: no more than there is room for, none twice, and none to mature before those before it."""
        counts = [len(batch) for batch in batches]
        if sum(counts) > self._most - len(self):
            raise ValueError(f"{sum(counts)} decisions, and room for {self._most - len(self)}")
        end = self._end + sum(counts)
        at = np.arange(self._end, end) % self._most
        for name in ("arms", "groups", "chains", "predicted"):
            self._columns[name][at] = np.concatenate([getattr(batch, name) for batch in batches])
        self._columns["times_s"][at] = np.repeat([batch.time_s for batch in batches], counts)
        self._columns["policy_versions"][at] = np.repeat([batch.policy_version for batch in batches], counts)
        self._columns["rewards"][at], self._columns["heard"][at] = 0.0, 0
        ids = tuple(chain.from_iterable(batch.request_ids for batch in batches))
        self._places.update(zip(ids, range(self._end, end), strict=True))
        self._runs.append(_Run(end, due_s, ids))
        self._end = end

    def hear(self, request_id: str, reward: float) -> bool:
        """Take the first reward of a decision that waits; false for any further one, which changes nothing."""
        at = self._places[request_id] % self._most
        if self._heard[at]:
            return False
        self._heard[at], self._rewards[at] = 1, reward
        return True

    def release(self, now_s: float, room: int = 0) -> Released:
        """What is due, and before its time the oldest, until there is room for so many more."""
        begin = whole = self._begin
        ids: list[tuple[str, ...]] = []
        while self._runs and (self._runs[0].due_s <= now_s or len(self) + room > self._most):
            run = self._runs.popleft()
            whole = run.end if run.due_s <= now_s else whole
            self._begin = run.end
            ids.append(run.ids)
            for request_id in run.ids:
                del self._places[request_id]
        places = np.arange(begin, self._begin)
        rows = {f.name: self._columns[f.name][places % self._most] for f in fields(Matured) if f.name != "whole"}
        silent = (places >= whole) & (self._columns["heard"][places % self._most] == 0)
        unheard = tuple(compress(chain.from_iterable(ids), silent.tolist())) if silent.any() else ()
        return Released(Matured(**rows, whole=places < whole), ids, unheard)
