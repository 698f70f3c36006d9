"""Kills a process that writes a log, again and again, and says what the log holds in the end. Run as a script.

python log_killed.py FOLDER KILLS SEED
"""

import json
import mmap
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

from outcome_rows import BEGAN_S, HEAD, decisions

from cluster.outcomes.log import FileLog
from cluster.outcomes.log_reader import read_log
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.records import Reward

ROWS, BATCHES = 20, 5
MOST_KILLS = 60
STARTING, ADDING, WRITING = range(3)
NAMES = ("starting", "adding", "writing")


class Board:
    """Numbers that survive whoever is killed: rows on the disk as far as the victim knew, and what it was at."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 4096)).cast("Q")

    def __getitem__(self, cell: int) -> int:
        return self._cells[cell]

    def __setitem__(self, cell: int, value: int) -> None:
        self._cells[cell] = value


WRITTEN, PHASE = range(2)


def write(folder: Path, writer: str, board: Board) -> NoReturn:
    log, number = FileLog(LogSettings(folder=folder), HEAD, writer, BEGAN_S), 0
    while True:
        board[PHASE] = ADDING
        for _ in range(BATCHES):
            ids = [f"{writer}-{number}-{at}" for at in range(ROWS)]
            log.add_decisions(decisions(ids, BEGAN_S + number), '{"cap":0.5}')
            log.add_outcomes([Reward(one, 1.0 + number, BEGAN_S + number + 1) for one in ids])
            number += 1
        board[PHASE] = WRITING
        log.flush(BEGAN_S + number, everything=True)
        board[WRITTEN] += ROWS * BATCHES


def victim(folder: Path, writer: str, board: Board) -> NoReturn:
    try:
        write(folder, writer, board)
    except BaseException as error:
        print(f"the victim failed: {error!r}", file=sys.stderr)
    os._exit(1)


def kill_one(folder: Path, writer: str, board: Board, rng: random.Random) -> str:
    """Start a writer, kill it at some moment, which for every other is after a file or two, and say what it was at."""
    board[PHASE], before = STARTING, board[WRITTEN]
    pid = os.fork()
    if pid == 0:
        victim(folder, writer, board)
    patient, began_s = rng.random() < 0.5, time.monotonic()
    while (board[PHASE] == STARTING or (patient and board[WRITTEN] == before)) and time.monotonic() < began_s + 5.0:
        time.sleep(0.001)
    time.sleep(rng.uniform(0.0, 0.03))
    os.kill(pid, signal.SIGKILL)
    phase = NAMES[board[PHASE]]
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"
    return phase


def main(folder: Path, kills: int, seed: int) -> dict[str, object]:
    rng, board, phases = random.Random(seed), Board(), Counter[str]()
    half = 0
    while phases.total() < kills or (half == 0 and phases.total() < MOST_KILLS):  # one at least while a file is written
        phases[kill_one(folder, f"w{phases.total()}", board, rng)] += 1
        half = len([*folder.rglob(".*.parquet")])
    rows = read_log(folder, horizon_s=1.0, unripe=True)
    return {
        "written": board[WRITTEN], "rows": len(rows), "most": board[WRITTEN] + phases.total() * ROWS * BATCHES,
        "phases": phases, "zero": int((rows.rewards == 0).sum()), "half": half,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
