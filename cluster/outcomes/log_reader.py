"""Reads a log back: which request got which chain with what probability, and what it earned."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from allocator.arms import ARMS
from cluster.outcomes.joiner import HORIZON_S
from cluster.outcomes.log_joining import Joined, Window, heard_by, join
from cluster.outcomes.log_opening import LogFile, check_alike, open_files
from cluster.outcomes.log_tables import POLICIES, TABLES, marks_of
from models.errors import FixFile, FixRequest


@dataclass(frozen=True, slots=True, eq=False)
class LoggedRows:
    """Decisions and what became of them: n rows in order of time.

    times_s          (n,) Unix
    users            (n,) salted hash of the unit of randomisation
    arms             (n,) as in allocator/arms.py
    contexts         (n, Fc) the reward model's input, NaN in rows where it was not logged; (n, 0) where it never was
    chains           (n,) index in `chain_ids`
    propensities     (n,) probability with which the policy gave the request this chain
    predicted        (n,) NaN where nobody predicted
    rewards          (n,) what came within the horizon, else 0
    flops, energy_j  (n,) joules NaN where not accounted for
    policy_versions  (n,) 0 where no policy decided; `read_policies` tells the reward models
    models           (n,) by which reward model, index in `reward_models`
    reward_model     the newest one of the log
    chain_ids        J of them
    horizon_s        so long after a request what came counts
    horizons_s       with which the files were written, each once, the shortest first; none where no file says it
    others           decisions that were left out, for the numbers of their contexts mean something else
    """

    times_s: NDArray[np.float64]
    users: NDArray[np.uint64]
    arms: NDArray[np.int8]
    contexts: NDArray[np.float32]
    chains: NDArray[np.int32]
    propensities: NDArray[np.float32]
    predicted: NDArray[np.float32]
    rewards: NDArray[np.float32]
    flops: NDArray[np.float64]
    energy_j: NDArray[np.float32]
    policy_versions: NDArray[np.int64]
    models: NDArray[np.int16]
    cascade: str
    reward_model: str
    reward_models: tuple[str, ...]
    chain_ids: tuple[str, ...]
    horizon_s: float
    horizons_s: tuple[float, ...]
    others: int

    def __len__(self) -> int:
        return len(self.times_s)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedPolicies:
    """Policies in order of time, P of them: not each that there was, but what was in force for a minute or longer.

    versions, times_s  (P,)
    reward_models      P of them
    penalties          (P, J) what each chain's cost takes off its reward, infinite where the chain was not available
    """

    versions: NDArray[np.int64]
    times_s: NDArray[np.float64]
    reward_models: tuple[str, ...]
    penalties: NDArray[np.float32]
    chain_ids: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.times_s)


def read_log(
    folder: Path,
    *,
    since_s: float | None = None,
    until_s: float | None = None,
    horizon_s: float | None = None,
    unripe: bool = False,
    codes: str = "",
) -> LoggedRows:
    """The rows that were decided from `since_s` to before `until_s`, whose horizon the log covers.

    With `codes`, those of files that say others are left out: `CascadeSpec.codes` tells what numbers of contexts mean.

    Without `horizon_s` it is the one that the log was written with, the shortest of several; HORIZON_S where no file
    says it. A row without an outcome within it has earned 0. Left out are rows whose horizon is not over by the end of
    the log, or in whose horizon outcomes were lost to a crash or a full disk, also those that have an outcome already:
    rows that earn something would be there and others not, and their mean too high. Where every request gets its
    feedback, if only a 0, none of that is so: `unripe` has rows with an outcome whatever their horizon.

    Memory: the rows that are handed out, 55 + 4 Fc bytes each, and while outcomes are joined about 150 bytes for each
    decision and each outcome: 10 million rows of 50 numbers take 2.5 GB, and 5 GB at the most.
    Raises FixFile naming a file that is no part of this log, FixRequest for a horizon of which the log has not all,
    and TryAgain where the log lost its oldest meanwhile.
    """
    decisions, outcomes, policies = (open_files(folder, table) for table in TABLES)
    everything = [*decisions, *outcomes, *policies]
    head = check_alike(everything)
    if head is None or not decisions:
        raise FixFile(folder, "", "holds no log of decisions")
    since_s, until_s = -np.inf if since_s is None else since_s, np.inf if until_s is None else until_s
    wanted = [one for one in decisions if one.to_s >= since_s and one.from_s < until_s]
    others = [one for one in wanted if codes and one.head.codes not in ("", codes)]
    wanted = [one for one in wanted if one not in others]
    said = tuple(sorted({one.head.horizon_s for one in wanted if one.head.horizon_s is not None}))
    horizon_s = _horizon(horizon_s, said)
    window = Window(
        since_s=since_s,
        until_s=until_s,
        horizon_s=horizon_s,
        heard=heard_by(outcomes, max(one.to_s for one in everything), horizon_s),
        unripe=unripe,
    )
    models = tuple(sorted({one.head.reward_model for one in wanted}))
    columns = _gathered(wanted, join(wanted, window.outcomes(outcomes), window), len(head.chains), models)
    return LoggedRows(
        **columns,
        cascade=head.cascade,
        reward_model=head.reward_model,
        reward_models=models,
        chain_ids=head.chains,
        horizon_s=window.horizon_s,
        horizons_s=said,
        others=sum(one.rows for one in others),
    )


def _horizon(asked_s: float | None, said_s: tuple[float, ...]) -> float:
    """The horizon to read by, of files that were written with these."""
    shortest_s = said_s[0] if said_s else None
    if asked_s is None:
        return HORIZON_S if shortest_s is None else shortest_s
    if shortest_s is not None and asked_s > shortest_s:
        problem = f"{asked_s:g} s is longer than feedback.horizon_s was, {shortest_s:g} s: no later reward was logged"
        raise FixRequest("horizon", f"{problem}; leave it out, or name a shorter one")
    return asked_s


def read_policies(folder: Path) -> LoggedPolicies:
    """All policies that were logged; none is no error. Raises FixFile as `read_log` does."""
    files = open_files(folder, POLICIES)
    head = check_alike(files)
    chains = () if head is None else head.chains
    parts = [_policies(one, len(chains)) for one in files]
    versions, times_s, penalties = (
        np.concatenate([empty, *(part[at] for part in parts)])
        for at, empty in enumerate((np.empty(0, np.int64), np.empty(0), np.empty((0, len(chains)), np.float32)))
    )
    order = _each_once(times_s, versions)
    models = [model for part in parts for model in part[3]]
    return LoggedPolicies(versions[order], times_s[order], tuple(models[at] for at in order), penalties[order], chains)


def _each_once(times_s: NDArray[np.float64], versions: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which rows in order of time, (P,): the first of each policy.

    One is logged again while it is in force, so that decisions have theirs though the files before were deleted.
    """
    first: dict[tuple[float, int], int] = {}
    for at, policy in enumerate(zip(times_s.tolist(), versions.tolist(), strict=True)):
        first.setdefault(policy, at)
    return np.array([first[policy] for policy in sorted(first)], np.int64)


def _policies(file: LogFile, chains: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], list[str]]:
    read = file.read(["policy_version", "time_s", "reward_model", "penalty"])
    if file.width != chains:
        raise FixFile(file.path, "penalty", f"expected {chains} numbers, one for each chain, got {file.width}")
    penalties = _rows(read["penalty"])
    return read["policy_version"].to_numpy(), read["time_s"].to_numpy(), penalties, read["reward_model"].to_pylist()


_COPIED = {
    "propensities": ("propensity", np.float32), "predicted": ("predicted_reward", np.float32),
    "flops": ("flops", np.float64), "energy_j": ("energy_j", np.float32),
    "policy_versions": ("policy_version", np.int64),
}  # fmt: skip
"""Fields of LoggedRows whose figures are those of a column."""


def _gathered(
    files: Sequence[LogFile], joined: Joined, chains: int, models: tuple[str, ...]
) -> dict[str, NDArray[Any]]:
    """The rows that are kept, in order of time. One file at a time is read, and its rows put where they belong."""
    order = np.argsort(joined.times_s[joined.kept], kind="stable")
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    count, width = len(order), _context_width(files)
    found: dict[str, NDArray[Any]] = {name: np.empty(count, kind) for name, (_, kind) in _COPIED.items()}
    found["users"], found["arms"] = np.empty(count, np.uint64), np.empty(count, np.int8)
    found["models"] = np.empty(count, np.int16)
    found["chains"], found["contexts"] = np.empty(count, np.int32), np.full((count, width), np.nan, np.float32)
    row = done = 0
    for file in files:
        kept = joined.kept[row : row + file.rows]
        here = place[done : done + int(kept.sum())]
        if len(here):
            found["models"][here] = models.index(file.head.reward_model)
            for name, values in _columns(file, chains).items():
                found[name][here] = values[kept]
        row, done = row + file.rows, done + len(here)
    found["times_s"] = joined.times_s[joined.kept][order]
    found["rewards"] = joined.rewards[joined.kept][order]
    return found


def _columns(file: LogFile, chains: int) -> dict[str, NDArray[Any]]:
    """All of a file's columns, as fields of LoggedRows."""
    wanted = ["user", "arm", "chain", *(column for column, _ in _COPIED.values()), *(["context"] if file.width else [])]
    read = file.read(wanted)
    found = {name: read[column].to_numpy(zero_copy_only=False) for name, (column, _) in _COPIED.items()}
    found["users"], found["arms"] = _users(file, read["user"]), _arms(file, read["arm"])
    found["chains"] = read["chain"].to_numpy()
    if file.width:
        found["contexts"] = _rows(read["context"])
    if not ((found["chains"] >= 0) & (found["chains"] < chains)).all():
        raise FixFile(file.path, "chain", f"must be from 0 to {chains - 1}")
    return found


def _users(file: LogFile, column: Any) -> NDArray[np.uint64]:
    try:
        return marks_of(column)
    except ValueError as error:
        raise FixFile(file.path, "user", str(error)) from None


def _arms(file: LogFile, column: Any) -> NDArray[np.int8]:
    codes = pc.index_in(column, value_set=pa.array(ARMS))
    if codes.null_count:
        raise FixFile(file.path, "arm", f"must be one of {', '.join(ARMS)}")
    arms: NDArray[np.int8] = codes.to_numpy().astype(np.int8)
    return arms


def _rows(column: Any) -> NDArray[np.float32]:
    """A column of lists of one length as rows (n, w)."""
    rows: NDArray[np.float32] = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)
    return rows.reshape(-1, column.type.list_size)


def _context_width(files: Sequence[LogFile]) -> int:
    """Numbers in a context; 0 where none were logged. Raises FixFile where two files differ."""
    logged = [one for one in files if one.width]
    for one in logged:
        if one.width != logged[-1].width:
            problem = f"has {one.width} numbers a row, and {logged[-1].path.name} has {logged[-1].width}"
            raise FixFile(one.path, "context", f"{problem}; move files of another reward model's input aside")
    return logged[-1].width if logged else 0
