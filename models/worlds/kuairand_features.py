"""Feature columns of KuaiRand-Pure: what stands in its files, and rates from the past."""

import numpy as np
from numpy.typing import NDArray

from models.spec import Column
from models.worlds.base import ITEM_COLUMN, IntArray, bucketed
from models.worlds.csvs import CsvFile, TextArray
from models.worlds.past import TABS, Past

USER_RATE_EDGES = tuple(float(e) for e in np.linspace(0.1, 0.95, 18).round(3))
ITEM_RATE_EDGES = tuple(float(e) for e in np.linspace(0.1, 0.9, 25).round(3))
LIKING_EDGES = tuple(float(e) for e in np.linspace(0.05, 0.75, 15).round(3))
COUNT_EDGES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
DURATION_EDGES_S = (5.0, 8.0, 12.0, 18.0, 25.0, 40.0, 60.0, 90.0, 120.0, 180.0, 240.0, 300.0)
SHAPE_EDGES = (0.6, 0.8, 1.2, 1.5)


class UserFeatures:
    """Columns of the users: tab (the request's), past rates, and what their file says as text codes."""

    STATIC = (
        "user_active_degree",
        "is_live_streamer",
        "is_video_author",
        "follow_user_num_range",
        "fans_user_num_range",
        "friend_user_num_range",
        "register_days_range",
        *(f"onehot_feat{n}" for n in (0, 1, 2, 4, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17)),
    )
    COLUMNS = ("user_id", *STATIC)

    def __init__(self, file: CsvFile) -> None:
        self.ids, order = _sorted_ids(file, "user_id")
        texts = [file.text(name)[order] for name in self.STATIC]
        values = [_values(text) for text in texts]
        self._static = np.stack([_codes(t, v) for t, v in zip(texts, values, strict=True)], axis=1)
        self.columns = (
            Column(name="tab", values=tuple(range(TABS))),
            Column(name="click_rate", edges=USER_RATE_EDGES),
            Column(name="shown", edges=COUNT_EDGES),
            Column(name="liking", edges=LIKING_EDGES),
            *(Column(name=n, values=v) for n, v in zip(self.STATIC, values, strict=True)),
        )

    def encode(self, rows: NDArray[np.int64], tab: NDArray[np.int64], past: Past) -> IntArray:
        """Features (n, Fu) of users (n,) in tabs (n,)."""
        parts = [
            np.where((tab >= 0) & (tab < TABS), tab + 1, 0),
            bucketed(past.user_rate(rows), USER_RATE_EDGES),
            bucketed(past.user_shown[rows], COUNT_EDGES),
            bucketed(past.user_liking(rows), LIKING_EDGES),
        ]
        return np.concatenate([np.stack(parts, axis=1), self._static[rows]], axis=1).astype(np.int32)

    def cold(self, past: Past) -> IntArray:
        """Features (Fu,) of an unknown user: everybody's tab, the overall rate, nothing else."""
        rate = bucketed(np.array([past.overall]), USER_RATE_EDGES)[0]
        known = np.array([past.everyones_tab() + 1, rate, 1, 0])
        return np.concatenate([known, np.zeros(len(self.STATIC))]).astype(np.int32)


class ItemFeatures:
    """Columns of the videos: the video itself, its first tag, what the file says, past rates."""

    TEXTS = ("upload_type", "video_type", "music_type")
    COLUMNS = ("video_id", "tag", "video_duration", "server_width", "server_height", *TEXTS)

    def __init__(self, file: CsvFile) -> None:
        self.ids, order = _sorted_ids(file, "video_id")
        tag = np.array([text.split(",")[0] for text in file.text("tag")[order].tolist()], dtype=np.str_)
        texts = [tag, *(file.text(name)[order] for name in self.TEXTS)]
        values = [_values(text) for text in texts]
        duration_s = file.numbers("video_duration")[order] / 1000.0
        with np.errstate(divide="ignore", invalid="ignore"):
            shape = (file.numbers("server_width") / file.numbers("server_height"))[order]
        codes = [_codes(t, v) for t, v in zip(texts, values, strict=True)]
        buckets = (bucketed(duration_s, DURATION_EDGES_S), bucketed(shape, SHAPE_EDGES))
        self._static = np.stack([np.arange(len(self.ids)) + 1, *codes, *buckets], axis=1)
        self.columns = (
            Column(name=ITEM_COLUMN, codes=len(self.ids) + 1),
            *(Column(name=n, values=v) for n, v in zip(("tag", *self.TEXTS), values, strict=True)),
            Column(name="duration_s", edges=DURATION_EDGES_S),
            Column(name="width_to_height", edges=SHAPE_EDGES),
            Column(name="click_rate", edges=ITEM_RATE_EDGES),
            Column(name="shown", edges=COUNT_EDGES),
            Column(name="liking", edges=LIKING_EDGES),
        )

    def encode(self, past: Past) -> IntArray:
        """Features (items, Fi) of all items."""
        parts = [
            bucketed(past.item_rate(), ITEM_RATE_EDGES),
            bucketed(past.item_shown, COUNT_EDGES),
            bucketed(past.item_liking(), LIKING_EDGES),
        ]
        return np.concatenate([self._static, np.stack(parts, axis=1)], axis=1).astype(np.int32)


def _sorted_ids(file: CsvFile, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Distinct ids in ascending order, and the first row of each."""
    ids, order = np.unique(file.integers(name), return_index=True)
    return ids, order


def _values(text: TextArray) -> tuple[str, ...]:
    """The distinct values, empty ones left out: they are unknown."""
    return tuple(str(value) for value in np.unique(text) if value)


def _codes(text: TextArray, values: tuple[str, ...]) -> NDArray[np.int64]:
    """Code 1 + place among the ascending values, 0 for an empty one."""
    return np.where(text == "", 0, np.searchsorted(np.array(values, dtype=np.str_), text) + 1)
