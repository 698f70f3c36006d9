"""Writes to a ledger whose files may not grow, then lifts the limit and goes on. A script; its argument is the file."""

import json
import resource
import sys
from pathlib import Path

from ledger_windows import MIDNIGHT_S, window

from cluster.ledger.store import Ledger
from models.errors import GreenFlowError

BYTES = 128 << 10
TRIES = 3


def main(file: Path) -> dict[str, object]:
    ledger = Ledger.open(file)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES, hard))
    written, errors = 0, list[GreenFlowError]()
    while len(errors) < TRIES and written < 10_000:
        try:
            ledger.write(window(written + 1, MIDNIGHT_S + written + 1))
            written += 1
        except GreenFlowError as error:
            errors.append(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    for _ in range(5):
        ledger.write(window(written + 1, MIDNIGHT_S + written + 1))
        written += 1
    with ledger.use() as db:
        (kept,) = db.execute("SELECT count(*) FROM window").fetchone()
        (joules,) = db.execute("SELECT sum(energy_j) FROM device_total WHERE span = 'day'").fetchone()
    ledger.close()
    first = errors[0]
    return {
        "error": type(first).__name__, "said": str(first), "failed": len(errors), "written": written, "kept": kept,
        "joules": joules,
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
