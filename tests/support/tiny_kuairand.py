"""A small stand-in for KuaiRand-Pure in its official layout, with clicks by a formula that is known."""

import csv
import gzip
import io
import os
from pathlib import Path

import numpy as np

from models.worlds.kuairand_features import ItemFeatures, UserFeatures

LOG = [
    "user_id",
    "video_id",
    "date",
    "hourmin",
    "time_ms",
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "play_time_ms",
    "duration_ms",
    "profile_stay_time",
    "comment_stay_time",
    "is_profile_enter",
    "is_rand",
    "tab",
]
REAL = Path(os.environ.get("GREENFLOW_KUAIRAND", Path(__file__).parents[3] / "shared/data/kuairand-pure"))
"""Where the real data set lies, if anywhere."""
DAYS = (20220503, 20220504, 20220505, 20220506, 20220507, 20220508)
Row = dict[str, object]


def write_table(path: Path, columns: list[str], rows: list[Row]) -> None:
    """A .csv or .csv.gz of these columns, empty where a row has none."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([row.get(column, "") for column in columns] for row in rows)
    text = file.getvalue()
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def chance(user: np.ndarray, video: np.ndarray) -> np.ndarray:
    """Of a click: some users click on more, some videos are better, and each user likes one tag of four."""
    logit = -1.0 + 0.8 * (user % 3) + 1.2 * (video % 2) + 1.5 * (user % 4 == video % 4)
    return 1.0 / (1.0 + np.exp(-logit))


def write(folder: Path, users: int = 400, videos: int = 60, shown: int = 4, seed: int = 0) -> Path:
    """The whole data set: each user is shown `shown` videos a day, and watches long every other video clicked."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    user = np.repeat(np.arange(users) + 1000, shown * len(DAYS))
    day = np.tile(np.repeat(DAYS, shown), users)
    video = rng.integers(0, videos, len(user)) + 500
    click = rng.random(len(user)) < chance(user, video)
    rows: list[Row] = [
        dict.fromkeys(LOG, 0)
        | {"user_id": u, "video_id": v, "date": d, "time_ms": at, "is_click": int(c), "tab": 1}
        | {"long_view": int(c and at % 2)}
        for at, (u, v, d, c) in enumerate(zip(user, video, day, click, strict=True))
    ]
    write_table(folder / "log_standard_5_03_to_5_08_pure.csv", LOG, rows)
    people: list[Row] = [{"user_id": u + 1000, "user_active_degree": f"kind {(u + 1000) % 12}"} for u in range(users)]
    write_table(folder / "user_features_pure.csv", list(UserFeatures.COLUMNS), people)
    clips: list[Row] = [
        {"video_id": v, "tag": f"{v % 4}", "video_duration": 9000.0, "server_width": 720, "server_height": 1280}
        for v in range(500, 500 + videos)
    ]
    write_table(folder / "video_features_basic_pure.csv", list(ItemFeatures.COLUMNS), clips)
    return folder
