"""The log's tables as Arrow has them: columns, their types, and what is said of all rows of a file.

    decisions  request_id, time_s, user (16 hex digits), arm, chain, propensity, predicted_reward, flops, energy_j,
               co2e_g, policy_version, degraded, context (Fc numbers), prices (JSON, by constraint)
    outcomes   request_id, reward, time_s
    policies   policy_version, time_s, reward_model, penalty (J numbers, infinite where not available), prices

A file of outcomes also says from when to when it has all of them. A policy may stand in several files: in each that is
written with decisions that it was in force for. A null is a figure that nobody knows, and a context of NaNs one that
was not logged.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from allocator.arms import ARMS
from cluster.outcomes.records import Decisions, PolicyRow, Reward

DECISIONS, OUTCOMES, POLICIES = TABLES = ("decisions", "outcomes", "policies")
FORMAT = "1"
HEX = 16
HEARD, AFTER_LOSS = b"heard", b"after_loss"
"""Keys of an outcomes file's metadata: [from, to] of its `Heard`, and whether it is after a loss."""
REPEATING = ["time_s", "arm", "chain", "flops", "policy_version", "prices", "reward", "reward_model"]
"""Columns of few different values: a dictionary of them is worth its while."""


@dataclass(frozen=True, slots=True)
class Head:
    """What is true of all rows of a file.

    cascade       digest or name of the cascade that was served
    reward_model  the file or hash of the model that predicted
    chains        ids of the chain space, J of them, in its order
    horizon_s     after a decision no later outcome is in the log; None where that is not known, as of older files
    codes         what numbers of contexts mean (`CascadeSpec.codes`); "" where that is not known
    """

    cascade: str
    reward_model: str
    chains: tuple[str, ...]
    horizon_s: float | None = None
    codes: str = ""

    @property
    def metadata(self) -> dict[bytes, bytes]:
        """As a file's schema carries it."""
        said = {"format": FORMAT, "cascade": self.cascade, "reward_model": self.reward_model}
        said["chains"] = json.dumps(self.chains, ensure_ascii=False, separators=(",", ":"))
        if self.horizon_s is not None:
            said["horizon_s"] = repr(float(self.horizon_s))
        if self.codes:
            said["codes"] = self.codes
        return {key.encode(): value.encode() for key, value in said.items()}

    @classmethod
    def of(cls, metadata: dict[bytes, bytes] | None) -> Self:
        """As a file says it. Raises ValueError saying what is wrong, in words that follow the file's name."""
        found = {key.decode(): value.decode() for key, value in (metadata or {}).items() if key in _KNOWN}
        if found.get("format") != FORMAT:
            raise ValueError(f"is of format {found.get('format', 'unknown')}, and this version reads {FORMAT}")
        if missing := [key.decode() for key in _KEYS if key.decode() not in found]:
            raise ValueError(f"does not say its {missing[0]}")
        chains = json.loads(found["chains"])
        if not (isinstance(chains, list) and all(isinstance(one, str) for one in chains)):
            raise ValueError("chains must be a list of ids")
        horizon_s = float(found["horizon_s"]) if "horizon_s" in found else None
        if horizon_s is not None and not horizon_s >= 0:
            raise ValueError("horizon_s must be a number of seconds")
        return cls(found["cascade"], found["reward_model"], tuple(chains), horizon_s, found.get("codes", ""))


_KEYS = (b"format", b"cascade", b"reward_model", b"chains")
_KNOWN = (*_KEYS, b"horizon_s", b"codes")


@dataclass(frozen=True, slots=True, order=True)
class Heard:
    """From when to when, in Unix time, no outcome is missing from the log by this file.

    after_loss  whether just before that some are, so that it has no part in what was heard until then
    """

    from_s: float
    to_s: float
    after_loss: bool = False


def decisions_table(head: Head, batches: Sequence[tuple[Decisions, str]]) -> Any:
    """Micro-batches, each with its policy's prices as JSON. Contexts narrower than the widest are left out."""
    counts = [len(batch) for batch, _ in batches]

    def column(name: str) -> NDArray[Any]:
        return np.concatenate([getattr(batch, name) for batch, _ in batches])

    def spread(name: str, kind: type) -> NDArray[Any]:
        return np.repeat(np.array([getattr(batch, name) for batch, _ in batches], kind), counts)

    energy_j = column("energy_j")
    columns = {
        "request_id": pa.array([one for batch, _ in batches for one in batch.request_ids], pa.string()),
        "time_s": spread("time_s", np.float64),
        "user": hex_of(column("users")),
        "arm": pa.DictionaryArray.from_arrays(pa.array(column("arms")), list(ARMS)),
        "chain": column("chains"),
        "propensity": column("propensities"),
        "predicted_reward": _known(column("predicted")),
        "flops": column("flops"),
        "energy_j": _known(energy_j),
        "co2e_g": _known((energy_j * spread("grams_per_j", np.float64)).astype(np.float32)),
        "policy_version": spread("policy_version", np.int64),
        "degraded": pa.array(column("degraded")),
    }
    if width := max(batch.contexts.shape[1] for batch, _ in batches):  # Parquet has no lists of length 0
        columns["context"] = fixed_lists(np.concatenate([_of_width(batch.contexts, width) for batch, _ in batches]))
    texts, codes = np.unique(np.array([prices for _, prices in batches], object), return_inverse=True)
    columns["prices"] = pa.DictionaryArray.from_arrays(pa.array(np.repeat(codes.astype(np.int32), counts)), list(texts))
    return pa.table(columns, metadata=head.metadata)


def outcomes_table(head: Head, rewards: Sequence[Reward], heard: Heard | None = None) -> Any:
    """One row for each reward; and when outcomes were heard."""
    columns = {
        "request_id": pa.array([one.request_id for one in rewards], pa.string()),
        "reward": np.array([one.reward for one in rewards], np.float32),
        "time_s": np.array([one.time_s for one in rewards], np.float64),
    }
    claim = {} if heard is None else {HEARD: json.dumps([heard.from_s, heard.to_s]).encode()}
    if heard is not None and heard.after_loss:
        claim[AFTER_LOSS] = b"true"
    return pa.table(columns, metadata={**head.metadata, **claim})


def policies_table(head: Head, policies: Sequence[PolicyRow]) -> Any:
    """One row for each policy, with the reward model that the file is of."""
    penalty = np.array([one.penalty for one in policies], np.float32)
    columns = {
        "policy_version": np.array([one.policy_version for one in policies], np.int64),
        "time_s": np.array([one.time_s for one in policies], np.float64),
        "reward_model": pa.array([head.reward_model] * len(policies), pa.string()),
        "penalty": fixed_lists(penalty.reshape(len(policies), len(head.chains))),
        "prices": pa.array([one.prices for one in policies], pa.string()),
    }
    return pa.table(columns, metadata=head.metadata)


def heard_of(metadata: dict[bytes, bytes]) -> Heard | None:
    """What an outcomes file claims to have all of. Raises ValueError for what is no claim."""
    if HEARD not in metadata:
        return None
    from_s, to_s = map(float, json.loads(metadata[HEARD]))
    return Heard(from_s, to_s, AFTER_LOSS in metadata)


def hex_of(marks: NDArray[np.uint64]) -> Any:
    """Numbers (n,) as strings of 16 hexadecimal digits."""
    digits = pa.py_buffer(marks.astype(">u8").tobytes().hex().encode())
    ends = pa.py_buffer((HEX * np.arange(len(marks) + 1)).astype(np.int32))
    return pa.StringArray.from_buffers(len(marks), ends, digits)


def marks_of(column: Any) -> NDArray[np.uint64]:
    """What `hex_of` made, (n,). Raises ValueError for strings that are none of its."""
    texts = column.to_pylist()
    if not all(text is not None and len(text) == HEX for text in texts):
        raise ValueError(f"expected {HEX} hexadecimal digits")
    return np.frombuffer(bytes.fromhex("".join(texts)), ">u8").astype(np.uint64)


def fixed_lists(rows: NDArray[np.float32]) -> Any:
    """Rows (n, w), w > 0, as a column of lists of that length."""
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(rows, np.float32).ravel()), rows.shape[1])


def _known(values: NDArray[np.float32]) -> Any:
    return pa.array(values, mask=np.isnan(values))


def _of_width(contexts: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    if contexts.shape[1] == width:
        return contexts
    return np.full((len(contexts), width), np.nan, np.float32)
