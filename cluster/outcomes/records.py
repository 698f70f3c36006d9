"""What passes between the ingress, which decides and hears of rewards, and whoever keeps the account of both."""

from dataclasses import dataclass, fields
from math import isfinite
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Decisions:
    """One micro-batch of B requests as it was decided, or several of one kind that the recorder put together.

    Raises ValueError where columns do not fit together. A pickle of it holds the bytes of its columns and little
    else, and what comes out of one cannot be written to.

    time_s          Unix time of the decision
    request_ids     B of them
    users           (B,) salted hash of the unit of randomisation
    groups, arms    (B,) as allocator/arms.py assigns them
    contexts        (B, Fc) the reward model's input; (B, 0) where it is not logged
    chains          (B,) index in the chain space
    propensities    (B,) probability that the policy gave the request this chain; 1 for arms in which it does not choose
    predicted       (B,) reward that was predicted for the chain, NaN where nobody predicted
    flops           (B,) of the chain
    energy_j        (B,) attributed to the request, NaN where joules are not accounted for
    static_j        what a request would have cost had all of the micro-batch run the static chain; NaN unknown
    error_j         standard error, by the energy model, of static_j less the mean of energy_j; NaN unknown
    grams_per_j     CO2e of a joule, NaN unknown
    policy_version  0 where no policy decided
    degraded        (B,) whether nobody could decide in time
    """

    time_s: float
    request_ids: tuple[str, ...]
    users: NDArray[np.uint64]
    groups: NDArray[np.int16]
    arms: NDArray[np.int8]
    contexts: NDArray[np.float32]
    chains: NDArray[np.int32]
    propensities: NDArray[np.float32]
    predicted: NDArray[np.float32]
    flops: NDArray[np.float64]
    energy_j: NDArray[np.float32]
    static_j: float
    error_j: float
    grams_per_j: float
    policy_version: int
    degraded: NDArray[np.bool_]

    def __post_init__(self) -> None:
        rows = (len(self.request_ids),)
        for name, kind in _COLUMNS:
            column = getattr(self, name)
            if column.dtype != kind or (column.shape if name != "contexts" else column.shape[:-1]) != rows:
                problem = f"{column.dtype} of shape {column.shape}, not {kind} of {rows[0]} rows"
                raise ValueError(f"decisions: {name} is {problem}")
        if not isfinite(self.time_s):
            raise ValueError(f"decisions: time_s is {self.time_s}")

    def __len__(self) -> int:
        return len(self.request_ids)

    def __reduce__(self) -> tuple[Any, ...]:
        columns = b"".join(getattr(self, name).tobytes() for name, _ in _COLUMNS)
        scalars = tuple(getattr(self, name) for name in _SCALARS)
        return _unpacked, (self.request_ids, self.contexts.shape[1], columns, scalars)

    def take(self, rows: NDArray[np.integer[Any] | np.bool_]) -> Self:
        """Some of its rows: a mask (B,), or their numbers."""
        numbers = np.arange(len(self))[rows]
        columns: dict[str, Any] = {name: getattr(self, name)[numbers] for name, _ in _COLUMNS}
        scalars: dict[str, Any] = {name: getattr(self, name) for name in _SCALARS}
        return type(self)(request_ids=tuple(self.request_ids[at] for at in numbers), **columns, **scalars)


_COLUMNS = tuple(  # the widest first, so that all are aligned where they lie one after another
    (name, np.dtype(kind))
    for name, kind in (
        ("users", np.uint64), ("flops", np.float64), ("contexts", np.float32), ("chains", np.int32),
        ("propensities", np.float32), ("predicted", np.float32), ("energy_j", np.float32), ("groups", np.int16),
        ("arms", np.int8), ("degraded", np.bool_),
    )
)  # fmt: skip
_SCALARS = tuple(f.name for f in fields(Decisions) if f.name not in {"request_ids", *dict(_COLUMNS)})


def _unpacked(ids: tuple[str, ...], width: int, columns: bytes, scalars: tuple[Any, ...]) -> Decisions:
    rows, at = len(ids), 0
    found: dict[str, Any] = {}
    for name, kind in _COLUMNS:
        count = rows * width if name == "contexts" else rows
        column = np.frombuffer(columns, kind, count, at)
        found[name] = column.reshape(rows, width) if name == "contexts" else column
        at += column.nbytes
    return Decisions(request_ids=ids, **found, **dict(zip(_SCALARS, scalars, strict=True)))


class Reward(NamedTuple):
    """What a request turned out to earn: one feedback.

    reward  finite, which whoever takes it in has seen to; may be 0, may be negative
    time_s  Unix time at which it came
    """

    request_id: str
    reward: float
    time_s: float


@dataclass(frozen=True, slots=True, eq=False)
class PolicyRow:
    """A policy as it is logged.

    penalty  (J,) what each chain's cost takes off its reward, infinite for a chain that is not available
    prices   JSON, by constraint
    budget   the limits in force, in words; "" for none. They may change while the policy stays, and it is told again
    reward_model  by whose rewards it decides; "" where that is not told
    since_s  Unix time from which on the teller has decided by it under this budget
    """

    policy_version: int
    time_s: float
    penalty: NDArray[np.float32]
    prices: str = "{}"
    budget: str = ""
    reward_model: str = ""
    since_s: float = 0.0
