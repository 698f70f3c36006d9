"""Kills a process that bills, again and again, and prints what the ledger holds in the end. Run as a script.

python ledger_killed.py FOLDER KILLS SEED

The counter counts 1/1024 J, so that every figure is exact in binary and nothing need be forgiven as rounding.
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

from ledger_windows import BOOT, HOST, MIDNIGHT_S, device, pool_of, share, window

from cluster.ledger.connect import for_reading
from cluster.ledger.marks import Mark, State
from cluster.ledger.store import Ledger

DEVICE = "package-0"
UNITS_PER_J = 1024
COUNTER, PHASE, RETURNED = range(3)
STARTING, RESTING, WRITING = range(3)
NAMES = ("starting", "resting", "writing")


class Board:
    """Three numbers that survive whoever is killed: the device's counter, and how far the victim has come."""

    def __init__(self) -> None:
        self._cells = memoryview(mmap.mmap(-1, 4096)).cast("Q")

    def __getitem__(self, cell: int) -> int:
        return self._cells[cell]

    def __setitem__(self, cell: int, value: int) -> None:
        self._cells[cell] = value


def bill(file: Path, board: Board) -> None:
    """Go on from the ledger, and write one window."""
    ledger = Ledger.open(file)
    while True:
        write_next(ledger, board)


def write_next(ledger: Ledger, board: Board) -> None:
    """Bill what the counter holds since the mark. The first reading bills nothing."""
    number, now = ledger.last().number + 1, board[COUNTER]
    marks = {mark.device: mark for mark in ledger.marks()}
    mark = marks.get(DEVICE)
    energy_j = 0.0 if mark is None else now / UNITS_PER_J - mark.counter_j
    devices, shares = (device(energy_j),), (share(energy_j / 4),)
    account = window(number, MIDNIGHT_S + number, devices, shares, (pool_of(devices, shares, energy_j / 2),))
    board[PHASE] = WRITING
    new = Mark(DEVICE, HOST, BOOT, now / UNITS_PER_J, float(number), MIDNIGHT_S + number)
    ledger.write(account, [new], [State("prices", str(number).encode(), 1, MIDNIGHT_S)])
    board[RETURNED], board[PHASE] = number, RESTING


def victim(file: Path, board: Board) -> NoReturn:
    try:
        bill(file, board)
    except BaseException as error:
        print(f"the victim failed: {error!r}", file=sys.stderr)
    os._exit(1)


def kill_one(file: Path, board: Board, rng: random.Random) -> str:
    """Start a victim, kill it at some moment, and say what it was at. The counter never stands still."""
    board[PHASE] = STARTING
    pid = os.fork()
    if pid == 0:
        victim(file, board)
    deadline_s = time.monotonic() + rng.choice((rng.uniform(0, 0.004), rng.uniform(0, 0.08)))
    while time.monotonic() < deadline_s:
        board[COUNTER] += rng.randrange(1, 5000)
    os.kill(pid, signal.SIGKILL)
    phase = NAMES[board[PHASE]]
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"
    return phase


def check_kept(file: Path, board: Board) -> None:
    """What `write` has returned from is there, and at most one window more."""
    if board[RETURNED]:
        db = for_reading(file)
        (last,) = db.execute("SELECT number FROM progress").fetchone()
        (price,) = db.execute("SELECT value FROM state WHERE key = 'prices'").fetchone()
        db.close()
        assert board[RETURNED] <= last <= board[RETURNED] + 1, (board[RETURNED], last)
        assert int(price) == last, "prices and window are of one transaction"
        board[RETURNED] = last


def main(folder: Path, kills: int, seed: int) -> dict[str, object]:
    rng, file, board = random.Random(seed), folder / "ledger.sqlite", Board()
    board[COUNTER] = first = 123 * UNITS_PER_J
    ledger = Ledger.open(file)
    write_next(ledger, board)
    ledger.close()
    phases = Counter[str]()
    for _ in range(kills):
        phases[kill_one(file, board, rng)] += 1
        check_kept(file, board)
    ledger = Ledger.open(file)
    write_next(ledger, board)
    with ledger.use() as db:
        sums = {
            "devices": "SELECT sum(energy_j) FROM device_window",
            "parts": "SELECT sum(energy_j) FROM part_window",
            "hours": "SELECT sum(energy_j) FROM device_total WHERE span = 'hour'",
            "days": "SELECT sum(energy_j) FROM device_total WHERE span = 'day'",
            "hours of parts": "SELECT sum(energy_j) FROM part_total WHERE span = 'hour'",
        }
        found = {name: db.execute(query).fetchone()[0] for name, query in sums.items()}
        counts = dict(db.execute("SELECT 'last', number FROM progress UNION SELECT 'rows', count(*) FROM window"))
    ledger.close()
    return {"truth": (board[COUNTER] - first) / UNITS_PER_J, "found": found, "counts": counts, "phases": phases}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
