"""Measures the ledger: milliseconds a window is written in, and milliseconds a month's report takes.

python tests/bench/ledger.py [--quick] [--json FILE] [--folder DIR]

A month is made up first: 720 hours of totals, and the last day's windows one by one, as the default retention keeps
them. Each window has ten devices on two hosts, and twenty variants that run on both. Then windows are written as the
controller writes them, one commit and one sync each, with marks, and with old detail let go of in the same transaction.
`synced page` is what one appended and synced page costs on that disk: the floor of any ledger that loses nothing.
Reports are timed from opening the file to the text that is printed. `CPU` is the median of what the thread itself
worked: where it is far below the rest, the disk or other programs were waited for.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

import click
import numpy as np
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[2]

from machine import describe  # noqa: E402

from allocator.emissions import Kind  # noqa: E402
from allocator.joules import DeviceJoules, PoolAccount, Quality, Share, WindowAccount  # noqa: E402
from cluster.ledger.connect import for_writing  # noqa: E402
from cluster.ledger.entries import add_detail, entry_of  # noqa: E402
from cluster.ledger.marks import Mark  # noqa: E402
from cluster.ledger.names import Numbers  # noqa: E402
from cluster.ledger.store import Ledger  # noqa: E402
from cluster.ledger.totals import DAY_S, HOUR_S, add_totals  # noqa: E402
from cluster.reporting.basis import Asked  # noqa: E402
from cluster.reporting.gather import gather_from  # noqa: E402
from cluster.reporting.model import By, EnergyReport  # noqa: E402
from cluster.reporting.page import others, page  # noqa: E402
from cluster.reporting.payload import energy  # noqa: E402
from cluster.reporting.spreadsheet import csv_text  # noqa: E402

HOSTS, DEVICES, VARIANTS, DAYS = 2, 10, 20, 30
BEGIN_S = 1_764_028_800  # 2025-11-25T00:00Z
BOUNDS_MS = {"window written": 5, "month by hour, CSV": 1000}
PAGE_BYTES = 4096
KIND = Kind.AVERAGE


@dataclass(frozen=True, slots=True)
class Timing:
    """Of one call: as a clock has it, and the CPU time of the thread."""

    wall_ms: float
    cpu_ms: float


def account(number: int, end_s: float, window_s: float, random: Random) -> WindowAccount:
    """A made-up window: devices, variants, and two pools that balance. Qualities and intensity vary."""
    devices, shares, pools = [], [], []
    for host in range(HOSTS):
        pool, quality = f"host-{host}/cpu", Quality.MODELLED if random.random() < 0.1 else Quality.MEASURED
        drawn = [random.uniform(5, 50) * window_s for _ in range(DEVICES // HOSTS)]
        devices += [_device(host, n, pool, quality, joules, window_s) for n, joules in enumerate(drawn)]
        each_j = sum(drawn) / (2 * VARIANTS)
        shares += [Share(f"stage-{n % 3}", f"variant-{n}", pool, 30, 3000, each_j, quality) for n in range(VARIANTS)]
        pools.append(PoolAccount(pool, sum(drawn), sum(drawn) / 4, sum(drawn) / 4, quality))
    requests = random.randrange(900, 1100)
    intensity = random.uniform(100, 400)
    done = (requests, requests * 10, 7, tuple(devices), tuple(shares), tuple(pools))
    return WindowAccount(number, end_s, window_s, *done, intensity, Quality.MODELLED, 1.3, Quality.ASSUMED)


def _device(host: int, n: int, pool: str, quality: Quality, joules: float, window_s: float) -> DeviceJoules:
    name, where = f"host-{host}/package-{n}", (f"node-{host}", f"host-{host}")
    return DeviceJoules(name, pool, *where, "package", "rapl", quality, joules, window_s, joules, "boot-1")


def marks_of(window: WindowAccount) -> list[Mark]:
    """One for each device."""
    return [Mark(d.device, d.host, d.epoch, d.counter_j, window.end_s, window.end_s) for d in window.devices]


def make_month(file: Path, detail: int, random: Random) -> int:
    """Write a month's totals, and so many single windows at its end. The number of the last one.

    Totals are of half hours, so that every hour has what it would have of single seconds: a row for each device,
    variant and quality. Many windows to a transaction, for it is not this that is measured.
    """
    Ledger.open(file).close()
    db, numbers, end_s = for_writing(file, 1.0), Numbers(), BEGIN_S + DAYS * DAY_S
    db.execute("BEGIN IMMEDIATE")
    for half in range(2 * DAYS * 24):
        add_totals(db, entry_of(db, numbers, account(0, BEGIN_S + (half + 1) * HOUR_S / 2, HOUR_S / 2, random), KIND))
    for number in range(1, detail + 1):
        add_detail(db, entry_of(db, numbers, account(number, end_s - detail + number, 1.0, random), KIND))
    db.execute("UPDATE progress SET number = ?, end_s = ?", (detail, end_s))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return detail


def timed(call: Callable[[], object]) -> Timing:
    """Call once, and time it."""
    began, worked = time.perf_counter(), time.thread_time()
    call()
    return Timing(1e3 * (time.perf_counter() - began), 1e3 * (time.thread_time() - worked))


def write_times(file: Path, last: int, windows: int, random: Random) -> tuple[list[Timing], list[Timing]]:
    """Of so many windows, after the month's last; and of a synced page before each, for disks have moods."""
    ledger, pages, found = Ledger.open(file), [], []
    with file.with_name("synced").open("wb", buffering=0) as beside:

        def append() -> None:
            beside.write(bytes(PAGE_BYTES))
            os.fdatasync(beside.fileno())

        for number in range(last + 1, last + windows + 1):
            window = account(number, BEGIN_S + DAYS * DAY_S + number - last, 1.0, random)
            pages.append(timed(append))
            found.append(timed(partial(ledger.write, window, marks_of(window))))
    ledger.close()
    return found, pages


def report_times(file: Path, by: By, form: Callable[[Sequence[EnergyReport]], str], repeats: int) -> list[Timing]:
    """Of a month's report, each from the file to the printed text."""
    asked = Asked(BEGIN_S, BEGIN_S + DAYS * DAY_S, time.time())
    return [timed(lambda: form(gather_from(file, by, asked, others(by)))) for _ in range(repeats)]


def csv_of(reports: Sequence[EnergyReport]) -> str:
    """The lines that were asked for."""
    return csv_text(reports[0])


def energy_times(file: Path, repeats: int) -> list[Timing]:
    """Of the HTTP API's answer with sixty windows, on a connection that is open."""
    ledger = Ledger.open(file)

    def answer() -> None:
        with ledger.use() as db:
            energy(db).model_dump_json()

    found = [timed(answer) for _ in range(repeats)]
    ledger.close()
    return found


def spread(times: Sequence[Timing]) -> dict[str, float]:
    """Median, 99th percentile, maximum and mean in ms, and the median of CPU time."""
    walls = [one.wall_ms for one in times]
    p50, p99 = (float(figure) for figure in np.percentile(walls, (50, 99)))
    cpu_ms = float(np.median([one.cpu_ms for one in times]))
    return {"p50": p50, "p99": p99, "max": max(walls), "mean": float(np.mean(walls)), "CPU": cpu_ms}


def measure(folder: Path, detail: int, windows: int, repeats: int) -> dict[str, dict[str, float]]:
    """Everything in ms, by name; and the file's size."""
    file, random = folder / "ledger.sqlite", Random(1)
    last = make_month(file, detail, random)
    written, pages = write_times(file, last, windows, random)
    found = {"synced page": spread(pages), "window written": spread(written)}
    reports: tuple[tuple[str, By, Callable[[Sequence[EnergyReport]], str]], ...] = (
        ("month by hour, CSV", "hour", csv_of),
        ("month by hour, HTML", "hour", page),
        ("month by day, CSV", "day", csv_of),
        ("month by variant, CSV", "variant", csv_of),
    )
    for name, by, form in reports:
        found[name] = spread(report_times(file, by, form, repeats))
    found["GET /v1/energy"] = spread(energy_times(file, repeats))
    found["file"] = {"MB": file.stat().st_size / 1e6}
    return found


def table_of(found: dict[str, dict[str, float]]) -> Table:
    """One line per figure, and how much it may be where that is settled."""
    columns = ("p50", "p99", "max", "mean", "CPU")
    table = Table("ms", *columns, "to reach", title=f"Ledger of {found['file']['MB']:,.0f} MB")
    for name, times in found.items():
        if name != "file":
            figures = (f"{times[key]:,.0f}" if times[key] >= 100 else f"{times[key]:.3g}" for key in columns)
            table.add_row(name, *figures, f"≤ {BOUNDS_MS[name]:,}" if name in BOUNDS_MS else "")
    return table


@click.command(context_settings={"show_default": True})
@click.option("--quick", is_flag=True, help="An hour of detail, and fewer windows, in ten seconds.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
@click.option("--folder", type=click.Path(path_type=Path), help="On the disk to measure.  [default: the temporary one]")
def main(quick: bool, json_file: Path | None, folder: Path | None) -> None:
    """Measure the ledger. Never judges: the exit status is 0 unless something breaks."""
    machine = describe(ROOT)
    with tempfile.TemporaryDirectory(prefix="gf-ledger-", dir=folder) as scratch:
        found = measure(Path(scratch), *((HOUR_S, 1000, 3) if quick else (DAY_S, 6000, 20)))
    Console(width=None if sys.stdout.isatty() else 120).print(table_of(found))
    if json_file is not None:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps({"machine": machine, "found": found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
