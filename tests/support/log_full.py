"""Writes a log whose files may not grow, then lifts the limit and goes on. A script; its argument is the folder."""

import json
import logging
import resource
import sys
from pathlib import Path

from outcome_rows import BEGAN_S, HEAD, decisions, numbered

from cluster.outcomes.log import FileLog
from cluster.outcomes.log_reader import read_log
from cluster.outcomes.log_settings import LogSettings

ROWS = 50


def main(folder: Path) -> dict[str, object]:
    said = list[str]()
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("cluster.outcomes.log")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    settings = LogSettings(folder=folder, rotate_rows=100, rotate_s=10.0, retry_s=60.0)
    log, now = FileLog(settings, HEAD, "w", BEGAN_S), 0
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def go_on(seconds: int) -> None:
        nonlocal now
        for _ in range(seconds):
            now += 1
            log.add_decisions(decisions(numbered(ROWS, f"{now}-"), BEGAN_S + now))
            log.flush(BEGAN_S + now)

    go_on(10)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))
    go_on(200)
    full = log.counts
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    go_on(100)
    log.flush(BEGAN_S + now, everything=True)
    counts = log.counts
    return {
        "error": full.error, "dropped": full.dropped["decisions"], "waiting": full.waiting, "said": said,
        "after": counts.error, "written": counts.written["decisions"], "lost": counts.dropped["decisions"],
        "sent": ROWS * now, "rows": len(read_log(folder, horizon_s=0.0)), "left": counts.waiting,
        "half": len(list(folder.rglob(".*.parquet"))),
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
