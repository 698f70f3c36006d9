"""Joins rewards to the decisions that they are of: within bounded time, in bounded memory, each once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from cluster.outcomes.pending import Matured, Pending
from cluster.outcomes.records import Decisions, Reward
from cluster.outcomes.remembered import Recent

HORIZON_S = 1800.0
EARLY_S = 30.0
MOST = 200_000
MOST_EARLY = 20_000


@dataclass(frozen=True, slots=True)
class JoinCounts:
    """Since the joiner began; `pending` and `waiting` are now.

    decisions   that were taken in, of which `matured` have their reward, and `hurried` had to before their horizon
    duplicates  decisions that came a second time, and were left out
    joined      rewards that found their decision; `repeated` found it with one; `late` came when it had matured
    missed      of the late ones, the first of each decision that was hurried without any
    unknown     rewards whose decision nobody remembers
    waiting     rewards that came before their decision, and wait for it
    """

    decisions: int = 0
    duplicates: int = 0
    matured: int = 0
    hurried: int = 0
    joined: int = 0
    repeated: int = 0
    late: int = 0
    missed: int = 0
    unknown: int = 0
    pending: int = 0
    waiting: int = 0

    @property
    def hurries(self) -> bool:
        """Whether most decisions that have matured had to before their horizon."""
        return 2 * self.hurried > self.matured


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """What a step has brought.

    decisions  those that were news, to be accounted for and logged
    rewards    that found their decision, each request's once
    missed     the first reward of each decision that was hurried without one. Whether it came within the horizon is for
               the log's readers to judge, who take a request without a reward for one that earned nothing
    strays     rewards of unknown requests, each once while it is remembered. After a restart these are what the log
               still lacks of decisions from before it
    matured    decisions whose reward is final
    """

    decisions: tuple[Decisions, ...]
    rewards: tuple[Reward, ...]
    missed: tuple[Reward, ...]
    strays: tuple[Reward, ...]
    matured: Matured


class Joiner:
    """Used by one thread at a time. Every reward that comes is counted once: joined, repeated, late or unknown.

    horizon_s   after a decision its reward is final: what came, else 0
    most        decisions that wait; the oldest of more mature at once, hurried. As many ids are remembered after that,
                and of those that were hurried without a reward as many again
    early_s     a reward waits so long for its decision, which travels another way and may come later; and a decision
                that comes when its reward should be final already, for the reward: half of the horizon at most
    most_early  rewards that wait for it; the oldest of more are unknown
    """

    def __init__(
        self, horizon_s: float = HORIZON_S, most: int = MOST, early_s: float = EARLY_S, most_early: int = MOST_EARLY
    ) -> None:
        self._horizon_s, self._most, self._early_s, self._most_early = horizon_s, most, early_s, most_early
        self._pending, self._recent, self._unheard = Pending(most), Recent(most), Recent(most)
        self._early: dict[str, tuple[Reward, float]] = {}  # until when each waits; the oldest first
        self._due_s = -inf
        self._decisions = self._duplicates = self._matured = self._hurried = 0
        self._joined = self._repeated = self._late = self._missed = self._unknown = 0

    @property
    def counts(self) -> JoinCounts:
        """Of what has become of all that came."""
        return JoinCounts(
            decisions=self._decisions,
            duplicates=self._duplicates,
            matured=self._matured,
            hurried=self._hurried,
            joined=self._joined,
            repeated=self._repeated,
            late=self._late,
            missed=self._missed,
            unknown=self._unknown,
            pending=len(self._pending),
            waiting=len(self._early),
        )

    def step(self, decisions: Sequence[Decisions], rewards: Sequence[Reward], now_s: float) -> Joined:
        """Take in what has come; `now_s`, Unix time, never goes back by more than it matters."""
        fresh, joined, missed = self._news(decisions), list[Reward](), list[Reward]()
        matured = [self._admit(run, joined, now_s) for run in _runs(fresh, self._most)]
        strays = [reward for one in rewards for reward in self._heard(one, joined, missed, now_s)]
        strays += self._gave_up(now_s)
        matured.append(self._released(now_s))
        self._joined += len(joined)
        self._late += len(missed)
        self._missed += len(missed)
        self._unknown += len(strays)
        return Joined(fresh, tuple(joined), tuple(missed), tuple(strays), Matured.concat(matured))

    def _news(self, decisions: Sequence[Decisions]) -> tuple[Decisions, ...]:
        """Without what has come before."""
        ids = [one for batch in decisions for one in batch.request_ids]
        if len(set(ids)) == len(ids) and self._pending.ids.isdisjoint(ids) and self._recent.knows_none(ids):
            return tuple(batch for batch in decisions if len(batch))
        seen, fresh = set[str](), list[Decisions]()
        for batch in decisions:
            keep = np.ones(len(batch), bool)
            for at, one in enumerate(batch.request_ids):
                keep[at] = not (one in seen or one in self._pending or one in self._recent)
                seen.add(one)
            self._duplicates += len(batch) - int(keep.sum())
            fresh += [batch.take(keep)] if keep.any() else []
        return tuple(fresh)

    def _admit(self, batches: Sequence[Decisions], joined: list[Reward], now_s: float) -> Matured:
        """Let decisions wait, and those mature that they push out."""
        count = sum(len(batch) for batch in batches)
        pushed = self._released(now_s, count)
        newest_s = max(batch.time_s for batch in batches)
        grace_s = min(self._early_s, self._horizon_s / 2)
        self._due_s = max(self._due_s, min(newest_s, now_s) + self._horizon_s, now_s + grace_s)
        self._pending.add(batches, self._due_s)
        self._decisions += count
        early = (one for batch in batches for one in batch.request_ids if one in self._early) if self._early else ()
        for request_id in early:
            reward, _ = self._early.pop(request_id)
            self._pending.hear(request_id, reward.reward)
            joined.append(reward)
        return pushed

    def _heard(self, reward: Reward, joined: list[Reward], missed: list[Reward], now_s: float) -> Iterator[Reward]:
        """Take one reward in; those whose decision nobody will know."""
        request_id = reward.request_id
        if request_id in self._pending:
            if self._pending.hear(request_id, reward.reward):
                joined.append(reward)
            else:
                self._repeated += 1
        elif self._unheard.forget(request_id):
            missed.append(reward)
        elif request_id in self._recent:
            self._late += 1
        elif request_id in self._early:
            self._repeated += 1
        else:
            self._early[request_id] = reward, now_s + self._early_s
            if len(self._early) > self._most_early:
                yield self._early.pop(next(iter(self._early)))[0]

    def _gave_up(self, now_s: float) -> list[Reward]:
        """Those that have waited long enough for their decision."""
        found = []
        for reward, until_s in self._early.values():
            if until_s > now_s:
                break
            found.append(reward)
        for reward in found:
            del self._early[reward.request_id]
        return found

    def _released(self, now_s: float, room: int = 0) -> Matured:
        released = self._pending.release(now_s, room)
        for run in released.ids:
            self._recent.add(run)
        self._unheard.add(released.unheard)
        self._matured += len(released.matured)
        self._hurried += int((~released.matured.whole).sum())
        return released.matured


def _runs(batches: Sequence[Decisions], most: int) -> Iterator[list[Decisions]]:
    """The batches in runs of at most `most` rows; a larger one is cut."""
    run, rows = list[Decisions](), 0
    for batch in batches:
        for begin in range(0, len(batch), most):
            piece = batch if len(batch) <= most else batch.take(np.arange(begin, min(begin + most, len(batch))))
            if rows + len(piece) > most:
                yield run
                run, rows = [], 0
            run.append(piece)
            rows += len(piece)
    if run:
        yield run
