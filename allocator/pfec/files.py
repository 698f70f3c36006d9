"""Writes a report: JSON, CSV, PNG, and the page. Each file is there whole or not at all."""

import csv
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from allocator.pfec.figures import figures
from allocator.pfec.page import page
from allocator.pfec.report import Report
from allocator.pfec.resample import Interval
from models.errors import FixFile

PAGE, JSON = "report.html", "report.json"
Row = Sequence[object]


def write(report: Report, folder: Path) -> list[Path]:
    """Write everything; the files, the page first. Raises FixSetup without matplotlib, FixFile for a bad folder."""
    drawn = figures(report)
    contents = {
        PAGE: page(report, {name: svg for name, (_, svg) in drawn.items()}).encode(),
        JSON: (report.model_dump_json(indent=1) + "\n").encode(),
        "methods.csv": _csv(_method_rows(report)),
        "equal-reward.csv": _csv(_equal_rows(report)),
        "day.csv": _csv(_day_rows(report)),
        **{f"{name}.png": png for name, (png, _) in drawn.items()},
    }
    check_folder(folder)
    for name, content in contents.items():
        temporary = folder / f".{name}.tmp"
        temporary.write_bytes(content)
        os.replace(temporary, folder / name)
    return [folder / name for name in contents]


def check_folder(folder: Path) -> None:
    """Make the folder. Raises FixFile where that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FixFile(folder, "", f"cannot be made a folder: {error.strerror}; name another one") from None


def _csv(rows: Iterable[Row]) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n").writerows(rows)
    return sink.getvalue().encode()


def _bounds(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low95", f"{name}_high95"


def _values(figure: Interval) -> tuple[float | None, float | None, float | None]:
    return figure.value, figure.low, figure.high


def _method_rows(report: Report) -> Iterator[Row]:
    quality = report.assumptions.quality
    names = ("spend_flops", "reward", "over_equal", "over_static", "gap_share")
    headers = [column for name in names for column in _bounds(name)]
    yield ("method", "ablation", "budget_flops", *headers, f"joules_{quality}", "grams_per_million_assumed")
    for group, removed in ((report.methods, False), (report.ablations, True)):
        for method in group:
            for at in method.points:
                figures_ = [value for name in names for value in _values(getattr(at, name))]
                yield (method.name, removed, at.budget_flops, *figures_, at.joules, at.grams_per_million)


def _equal_rows(report: Report) -> Iterator[Row]:
    yield ("method", "share_of_static", *_bounds("spend_flops"), *_bounds("saving"), "reached")
    for one in report.equal_reward:
        yield (one.name, one.share_of_static, *_values(one.spend_flops), *_values(one.saving), one.reached)


def _day_rows(report: Report) -> Iterator[Row]:
    yield ("run", "hour", "requests_per_s", "price", "spend_of_limit", "reward")
    for run in report.day:
        for span in run.spans:
            yield (run.name, span.hour, span.requests_per_s, span.price, span.spend_of_limit, span.reward)
