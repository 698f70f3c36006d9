"""What KuaiRand-Pure's test days say of users and videos by id: clicks and long views, for rewards that happened."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.worlds.csvs import CsvFile
from models.worlds.kuairand import TEST_DAYS
from models.worlds.kuairand_files import find_folder

COLUMNS = ("user_id", "video_id", "date", "is_click", "long_view")
Ids = NDArray[np.int64]


def exposures_kept_back(folder: Path) -> tuple[Ids, Ids, NDArray[np.bool_], NDArray[np.bool_]]:
    """Exposures of the test days: user ids, video ids, whether it was clicked, whether it was watched long; each (n,).

    A repeated exposure stands there more than once. Raises FixFile naming the file and column of what is wrong.
    """
    parts = []
    for path in sorted(find_folder(folder).glob("log_standard_*_pure.csv*")):
        file = CsvFile(path, COLUMNS)
        parts.append(np.stack([file.integers(name) for name in COLUMNS], axis=1))
    lines = np.concatenate(parts)
    lines = lines[np.isin(lines[:, 2], TEST_DAYS)]
    return lines[:, 0], lines[:, 1], lines[:, 3] > 0, lines[:, 4] > 0
