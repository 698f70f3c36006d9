"""KuaiRand-Pure as a world: clicks on short videos, split by time.

Train to 2022-05-05, validate on 05-06, test on 05-07 and 05-08. What a request knows is what was known before
its day; both test days know everything up to the end of 05-06, as a server does that was fed then. Rates and
histories are counted from the past of the log alone; aggregates over the whole period are not read.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import FixFile
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


def kuairand_world(folder: Path) -> tuple[World, Report]:
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
    return _Builder(place, users, items, shown, watched).world(), report


@dataclass(frozen=True)
class _Shown:
    """Exposures by table row, in the order of time; each (n,)."""

    user: NDArray[np.int64]
    item: NDArray[np.int64]
    day: NDArray[np.int64]
    click: NDArray[np.bool_]
    tab: NDArray[np.int64]

    @classmethod
    def of(cls, exposures: Exposures, users: UserFeatures, items: ItemFeatures, report: Report) -> "_Shown":
        user, item = rows_of(users.ids, exposures.user_id), rows_of(items.ids, exposures.video_id)
        known = (user >= 0) & (item >= 0)
        report.strangers = int((~known).sum())
        kept = exposures.only(known)
        return cls(user[known], item[known], kept.day, kept.click, kept.tab)


class _Builder:
    """Walks through the days: a day's requests know what was known before it; then it becomes the past."""

    def __init__(
        self, folder: Path, users: UserFeatures, items: ItemFeatures, shown: _Shown, watched: Watched | None
    ) -> None:
        self._folder, self._users, self._items, self._shown = folder, users, items, shown
        self._past = Past(len(users.ids), len(items.ids))
        self._history = np.zeros((len(users.ids), HISTORY), dtype=np.int32)
        if watched is not None:
            self._remember(watched)
        self._states: list[IntArray] = []
        self._state_version = -1

    def world(self) -> World:
        days = [int(day) for day in np.unique(self._shown.day)]
        train = [self._day(day) for day in days if day <= TRAIN_UNTIL]
        valid = [self._day(day) for day in days if day == VALID_DAY]
        served, history = self._user_table(), self._history.copy()
        tests = self._join([self._requests(day) for day in days if day in TEST_DAYS], "the test days")
        catalogue = np.stack(self._states)
        train_log, valid_log = self._join(train, "the days to 2022-05-05"), self._join(valid, "2022-05-06")
        logs = [replace(log, catalogue=catalogue) for log in (train_log, valid_log, tests)]
        about = f"KuaiRand-Pure, {len(self._shown.user):,} exposures, {days[0]} to {days[-1]}"
        items = Table(self._items.ids, catalogue[-1], self._items.columns)
        cold = self._users.cold(self._past)
        return World("kuairand-pure", about, served, items, history, cold, ("tag", "duration_s"), *logs)

    def _user_table(self) -> Table:
        rows = np.arange(len(self._users.ids))
        features = self._users.encode(rows, self._past.usual_tab(rows), self._past)
        return Table(self._users.ids, features, self._users.columns)

    def _day(self, day: int) -> Log:
        """The day's requests; afterwards the day is known."""
        log = self._requests(day)
        mine = np.flatnonzero(self._shown.day == day)
        user, item, click = self._shown.user[mine], self._shown.item[mine], self._shown.click[mine]
        self._past.add(user, item, click, self._shown.tab[mine])
        for row, clicked in zip(user[click], item[click], strict=True):
            push_history(self._history, np.array([row]), np.array([clicked], dtype=np.int32))
        return log

    def _requests(self, day: int) -> Log:
        """One request for what a user was shown in one tab on that day."""
        mine = np.flatnonzero(self._shown.day == day)
        mine = mine[np.lexsort((self._shown.tab[mine], self._shown.user[mine]))]
        user, tab = self._shown.user[mine], self._shown.tab[mine]
        start = np.flatnonzero(np.r_[True, (user[1:] != user[:-1]) | (tab[1:] != tab[:-1])])
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
        if not logs:
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
