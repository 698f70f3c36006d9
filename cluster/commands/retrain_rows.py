"""What a candidate is trained from and judged on: the log's rows, split by time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.arms import HOLDBACK, POLICY
from allocator.chains import ChainSpace
from allocator.choice import Floats, Ints, Mask
from allocator.ope.logged import Logged
from allocator.ope.targets import RARELY, Scene, newest
from allocator.relearn.correction import Seen
from cluster.candidate import Span
from cluster.outcomes.log_reader import LoggedPolicies, LoggedRows, read_log, read_policies
from models.errors import FixFile
from models.loading import Cascade

HELD_OUT = 0.2
"""The share of the time's rows, the newest, that nothing is ever trained on."""
LEAST_ROWS = 200
OTHERS = "from before the cascade's items, or what features of users mean, changed: left out"


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a log is wanted: a folder, from when to when in Unix time.

    horizon_s  how long after a decision rewards count; None for as long as they did when they were logged
    unripe     also requests with a reward whose time is not over yet
    codes      what numbers of contexts mean to who reads: what was logged when they meant something else is left out
    """

    folder: Path
    since_s: float | None
    until_s: float | None
    horizon_s: float | None
    unripe: bool
    codes: str = ""

    def read(self) -> tuple[LoggedRows, LoggedPolicies]:
        """Read and join it. Raises FixFile, FixRequest, and TryAgain where the log lost its oldest meanwhile."""
        rows = read_log(
            self.folder,
            since_s=self.since_s,
            until_s=self.until_s,
            horizon_s=self.horizon_s,
            unripe=self.unripe,
            codes=self.codes,
        )
        return rows, read_policies(self.folder)


@dataclass(frozen=True, eq=False)
class Evidence:
    """The log, ready to be learned from and to be judged by.

    seen           requests to learn from: of the policy and of the users who are held back
    logged, scene  later ones, all of the policy, to judge by
    trained, held  what they are, in figures
    missed         later requests of the policy from before the first policy that was logged: left out
    horizon_s      so long after a request its reward counts
    horizons_s     the horizons with which the log was written
    served         name of the reward model by which the newest of the later ones were decided
    others         requests that were left out, for the cascade's items or users' features are others since
    """

    seen: Seen
    logged: Logged
    scene: Scene
    trained: Span
    held: Span
    missed: int
    horizon_s: float
    horizons_s: tuple[float, ...]
    served: str
    others: int


def evidence(reading: Reading, cascade: Cascade, space: ChainSpace, read: Callable[[Reading], Any]) -> Evidence:
    """Read a log by `read`, refuse one that is not of this cascade or tells too little, and split it by time.

    Raises FixFile naming the folder and the column.
    """
    rows, policies = read(replace(reading, codes=cascade.spec.codes))
    _check(reading.folder, rows, policies, cascade, space)
    usable = np.isin(rows.arms, (POLICY, HOLDBACK)) & ~np.isnan(rows.contexts).any(axis=1)
    cut_s = float(np.quantile(rows.times_s[usable], 1.0 - HELD_OUT)) if usable.any() else np.inf
    later = rows.times_s >= cut_s
    in_force = newest(policies.times_s, rows.times_s)
    decided = (rows.arms == POLICY) & ~np.isnan(rows.predicted)  # else they ran the safe chain, whatever it was
    judged = usable & later & decided
    train, held = usable & ~later, judged & (in_force >= 0)
    _check_enough(reading.folder, rows, int(train.sum()), int(held.sum()))
    kind = np.float32 if cascade.spec.tables.users.is_float else np.int64
    learned, later_ones = (rows.contexts[which].astype(kind) for which in (train, held))
    propensities = rows.propensities.astype(np.float64)
    _check_propensities(reading.folder, propensities[train | held])
    return Evidence(
        seen=Seen(learned, _chains(rows, train), rows.rewards[train].astype(np.float64), propensities[train]),
        logged=Logged(rows.users[held], rows.rewards[held].astype(np.float64), propensities[held]),
        scene=_scene(rows, held, later_ones, policies, in_force, space),
        trained=_span(rows, train),
        held=_span(rows, held),
        missed=int((judged & ~held).sum()),
        horizon_s=rows.horizon_s,
        horizons_s=rows.horizons_s,
        served=rows.reward_models[rows.models[held][-1]],
        others=rows.others,
    )


def _scene(
    rows: LoggedRows, held: Mask, contexts: NDArray[Any], policies: LoggedPolicies, in_force: Ints, space: ChainSpace
) -> Scene:
    return Scene(
        contexts=contexts,
        chains=_chains(rows, held),
        policies=in_force[held],
        penalties=policies.penalties.astype(np.float64),
        flops=space.flops,
        kinds=kinds_of(space),
        propensities=rows.propensities[held].astype(np.float64),
    )


def kinds_of(space: ChainSpace) -> Ints:
    """The kind of each chain, (J,), from 0 on: the variant of its last stage, which decides most of what is shown."""
    found: dict[str | None, int] = {}
    return np.array([found.setdefault(chain.actions[-1].variant, len(found)) for chain in space], dtype=np.int64)


def _check(folder: Path, rows: LoggedRows, policies: LoggedPolicies, cascade: Cascade, space: ChainSpace) -> None:
    ids = tuple(chain.id for chain in space)
    if rows.cascade != cascade.spec.name:
        raise FixFile(folder, "cascade", f"was logged while {rows.cascade!r} was served, not {cascade.spec.name!r}")
    if rows.chain_ids != ids:
        raise FixFile(folder, "chains", f"its {len(rows.chain_ids)} chains are not the {len(ids)} of this cascade")
    if rows.others and not len(rows):
        raise FixFile(folder, "decisions", f"all {rows.others:,} are {OTHERS}")
    width = len(cascade.spec.tables.users.columns) + cascade.users.history_length
    if rows.contexts.shape[1] == 0:
        raise FixFile(folder, "context", "no contexts were logged; turn on log.contexts, and log anew")
    if rows.contexts.shape[1] != width:
        raise FixFile(folder, "context", f"has {rows.contexts.shape[1]} numbers, and this cascade's have {width}")
    if not len(policies):
        raise FixFile(folder, "policies", "none was logged, so nobody knows the prices of the time")


def _check_enough(folder: Path, rows: LoggedRows, learned: int, judged: int) -> None:
    if min(learned, judged) < LEAST_ROWS:
        found = f"{learned:,} requests to learn from and {judged:,} later ones to judge by are too few"
        least = f"at least {LEAST_ROWS} of each, with their contexts, whose horizon ({rows.horizon_s:g} s) is over"
        others = f"; {rows.others:,} more are {OTHERS}" if rows.others else ""
        raise FixFile(folder, "decisions", f"{found}; {least}{others}")


def _check_propensities(folder: Path, propensities: Floats) -> None:
    if not ((propensities > 0) & (propensities <= 1)).all():
        raise FixFile(
            folder, "propensity", "must be above 0 and at most 1; some are not, so nothing can be judged by it"
        )


def _chains(rows: LoggedRows, which: Mask) -> Ints:
    return rows.chains[which].astype(np.int64)


def _span(rows: LoggedRows, which: NDArray[np.bool_]) -> Span:
    times_s = rows.times_s[which]
    return Span(
        requests=int(which.sum()),
        users=len(np.unique(rows.users[which])),
        explored=int((rows.propensities[which] < RARELY).sum()),
        from_s=float(times_s.min()),
        to_s=float(times_s.max()),
    )
