"""KuaiRand-Pure as a world: clicks on short videos, split by time.

Train to 2022-05-05, validate on 05-06, test on 05-07 and 05-08. What a request knows is what was known before
its day; both test days know everything up to the end of 05-06, as a server does that was fed then. Rates and
histories are counted from the past of the log alone; aggregates over the whole period are not read.

Some users stand apart: a cascade is neither trained nor validated on them, and they count in nobody's rates but
their own. What they did, and what everybody did on the test days, no cascade has seen: `KuaiRand.unseen`, from which
a click model may learn what a cascade's recommendations are worth.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import FixFile
from models.splits import chosen
from models.worlds.base import IntArray, Log, Table, World, joined, push_history
from models.worlds.kuairand_features import ItemFeatures, UserFeatures
from models.worlds.kuairand_files import (
    USERS,
    VIDEOS,
    Exposures,
    Report,
    Watched,
    find_folder,
    note_unused,
    read_exposures,
    read_table,
    read_watched,
)
from models.worlds.past import Past

TRAIN_UNTIL, VALID_DAY, TEST_DAYS = 20220505, 20220506, (20220507, 20220508)
HISTORY = 30
APART_SHARE, APART_SALT = 0.2, "apart "


@dataclass(frozen=True)
class KuaiRand:
    """The data set as read.

    world    for training a cascade
    unseen   what no cascade has seen: the users apart on all days, everybody on the test days
    logged   the test days by table row, for rewards that happened
    """

    world: World
    unseen: Log
    logged: "Logged"
    report: Report


@dataclass(frozen=True)
class Logged:
    """Exposures of the test days, each (n,): rows of user and item, whether clicked, whether watched long."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    click: NDArray[np.bool_]
    long_view: NDArray[np.bool_]


def kuairand_world(folder: Path) -> tuple[World, Report]:
    """The world alone, and what was found. Raises FixFile as `read_kuairand` does."""
    data = read_kuairand(folder)
    return data.world, data.report


def read_kuairand(folder: Path) -> KuaiRand:
    """Read the data set's folder. Raises FixFile naming the file and column of what is wrong or missing."""
    place = find_folder(folder)
    report = Report(place)
    exposures = read_exposures(place, report)
    watched = read_watched(place, report)
    if watched is None:
        report.missing.append("history_before_*: what users watched before the log; histories start empty")
    users = UserFeatures(read_table(place, USERS, UserFeatures.COLUMNS, report))
    items = ItemFeatures(read_table(place, VIDEOS, ItemFeatures.COLUMNS, report))
    note_unused(place, report)
    shown = _Shown.of(exposures, users, items, report)
    world, unseen = _Builder(place, users, items, shown, watched).world()
    return KuaiRand(world, unseen, shown.logged(), report)


@dataclass(frozen=True)
class _Shown:
    """Exposures by table row, in the order of time; each (n,)."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    day: NDArray[np.int64]
    click: NDArray[np.bool_]
    tab: NDArray[np.int64]
    long_view: NDArray[np.bool_]

    @classmethod
    def of(cls, exposures: Exposures, users: UserFeatures, items: ItemFeatures, report: Report) -> "_Shown":
        user, item = rows_of(users.ids, exposures.user_id), rows_of(items.ids, exposures.video_id)
        known = (user >= 0) & (item >= 0)
        report.strangers = int((~known).sum())
        kept = exposures.only(known)
        return cls(user[known], item[known], kept.day, kept.click, kept.tab, kept.long_view)

    def logged(self) -> Logged:
        test = np.isin(self.day, TEST_DAYS)
        return Logged(self.user[test], self.item[test], self.click[test], self.long_view[test])


class _Builder:
    """Walks through the days: a day's requests know what was known before it; then it becomes the past."""

    def __init__(
        self, folder: Path, users: UserFeatures, items: ItemFeatures, shown: _Shown, watched: Watched | None
    ) -> None:
        self._folder, self._users, self._items, self._shown = folder, users, items, shown
        self._apart = chosen(users.ids.tolist(), APART_SHARE, APART_SALT)
        self._past = Past(len(users.ids), len(items.ids))
        self._history = np.zeros((len(users.ids), HISTORY), dtype=np.int32)
        if watched is not None:
            self._remember(watched)
        self._states: list[IntArray] = []
        self._state_version = -1

    def world(self) -> tuple[World, Log]:
        days = [int(day) for day in np.unique(self._shown.day)]
        train = [self._day(day) for day in days if day <= TRAIN_UNTIL]
        valid = [self._day(day) for day in days if day == VALID_DAY]
        served, history = self._user_table(), self._history.copy()
        test = self._join([self._requests(day) for day in days if day in TEST_DAYS], "the test days")
        catalogue = np.stack(self._states)
        train_log = self._join([log for log, _ in train], "the days to 2022-05-05")
        valid_log = self._join([log for log, _ in valid], "2022-05-06")
        unseen = joined([*(apart for _, apart in (*train, *valid)), test])
        logs = [replace(log, catalogue=catalogue) for log in (train_log, valid_log, test)]
        about = (
            f"KuaiRand-Pure, {len(self._shown.user):,} exposures, {days[0]} to {days[-1]}, "
            f"{self._apart.sum():,} of {len(self._apart):,} users apart"
        )
        items = Table(self._items.ids, catalogue[-1], self._items.columns)
        cold = self._users.cold(self._past)
        world = World("kuairand-pure", about, served, items, history, cold, ("tag", "duration_s"), *logs)
        return world, replace(unseen, catalogue=catalogue)

    def _user_table(self) -> Table:
        rows = np.arange(len(self._users.ids))
        features = self._users.encode(rows, self._past.usual_tab(rows), self._past)
        return Table(self._users.ids, features, self._users.columns)

    def _day(self, day: int) -> tuple[Log, Log]:
        """The day's requests, those of the users apart in a log of their own; afterwards the day is known."""
        logs = self._requests(day, ~self._apart), self._requests(day, self._apart)
        mine = np.flatnonzero(self._shown.day == day)
        user, item, click = self._shown.user[mine], self._shown.item[mine], self._shown.click[mine]
        self._past.add(user, item, click, self._shown.tab[mine], public=~self._apart[user])
        for row, clicked in zip(user[click], item[click], strict=True):
            push_history(self._history, np.array([row]), np.array([clicked], dtype=np.int32))
        return logs

    def _requests(self, day: int, users: NDArray[np.bool_] | None = None) -> Log:
        """One request for what a user (of these, (users,)) was shown in one tab on that day."""
        mine = np.flatnonzero(self._shown.day == day)
        if users is not None:
            mine = mine[users[self._shown.user[mine]]]
        mine = mine[np.lexsort((self._shown.tab[mine], self._shown.user[mine]))]
        user, tab = self._shown.user[mine], self._shown.tab[mine]
        start = np.flatnonzero((np.diff(user, prepend=-1) != 0) | (np.diff(tab, prepend=-1) != 0))
        if self._past.version != self._state_version:
            self._states.append(self._items.encode(self._past))
            self._state_version = self._past.version
        count = len(start)
        return Log(
            day=np.full(count, day, dtype=np.int32),
            user_row=user[start].astype(np.int32),
            user=self._users.encode(user[start], tab[start], self._past),
            history=self._history[user[start]],
            state=np.full(count, len(self._states) - 1, dtype=np.int32),
            offsets=np.r_[start, len(mine)].astype(np.int64),
            item_row=self._shown.item[mine].astype(np.int32),
            click=self._shown.click[mine].astype(np.float32),
            catalogue=self._states[-1][None],
        )

    def _join(self, logs: list[Log], what: str) -> Log:
        if not any(map(len, logs)):
            raise FixFile(self._folder, "column date", f"no exposures on {what}; they are needed")
        return joined(logs)

    def _remember(self, watched: Watched) -> None:
        """Start from what users watched before the log: histories of what they liked or watched long."""
        rows = rows_of(self._users.ids, watched.user_id)
        for at, row in enumerate(rows):
            if row < 0:
                continue
            videos = np.array(watched.videos[at].split(), dtype=np.int64)
            liked = {*watched.liked[at].split(), *watched.watched_long[at].split()}
            items = rows_of(self._items.ids, videos)
            good = np.array([video in liked for video in watched.videos[at].split()], dtype=bool)
            self._past.remember(int(row), items[items >= 0], good[items >= 0])
            kept = items[good & (items >= 0)][-HISTORY:]
            if len(kept):
                self._history[row, -len(kept) :] = kept + 1


def rows_of(ids: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row of each wanted id in the ascending ids, -1 where it is not there."""
    at = np.minimum(np.searchsorted(ids, wanted), len(ids) - 1)
    return np.where(ids[at] == wanted, at, -1)
