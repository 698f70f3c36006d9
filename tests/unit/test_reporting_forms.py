"""A report as text, as CSV, and as a page."""

import csv
import io
import re
from html.parser import HTMLParser

import pytest
from ledger_windows import MIDNIGHT_S, device, share, window
from rich.console import Console

from allocator.emissions import Kind
from cluster.ledger.store import Ledger
from cluster.ledger.totals import HOUR_S
from cluster.reporting.basis import Asked
from cluster.reporting.gather import gather_all
from cluster.reporting.model import By, EnergyReport
from cluster.reporting.page import others, page
from cluster.reporting.spreadsheet import csv_text
from cluster.reporting.text import show

ALL_BY: tuple[By, ...] = ("hour", "day", "stage", "variant", "node")
VOID = {"meta", "line", "rect"}


@pytest.fixture
def ledger() -> Ledger:
    """Two hours a gap apart, and two kinds of intensity."""
    ledger = Ledger.open(None)
    ledger.write(window(1))
    ledger.write(window(2, MIDNIGHT_S + 3 * HOUR_S), intensity=Kind.MARGINAL)
    return ledger


def reports(ledger: Ledger, by: By = "variant") -> tuple[EnergyReport, ...]:
    with ledger.use() as db:
        return gather_all(
            db, "a folder/ledger <1>.sqlite", by, Asked(None, None, MIDNIGHT_S + 4.0 * HOUR_S), others(by)
        )


def report(ledger: Ledger, by: By = "variant") -> EnergyReport:
    return reports(ledger, by)[0]


def text(told: EnergyReport, width: int = 100) -> str:
    sink = io.StringIO()
    show(told, Console(file=sink, width=width, highlight=False))
    return sink.getvalue()


def table(told: EnergyReport) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(csv_text(told))))


class Page(HTMLParser):
    """What a page says, which tags it opens and never closes, and what it would fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.said: list[str] = []
        self.open: list[str] = []
        self.fetched: list[str] = []
        self.cells: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.said.append(data)
        if self.open and self.open[-1] == "td":
            self.cells.append(data)


def test_text_tells_the_total_with_units_and_how_it_is_known(ledger: Ledger) -> None:
    told = text(report(ledger))
    for line in (
        "period       2025-11-25T00:00Z to 2025-11-25T03:00Z, of which 2.00 s are billed",
        "energy       0.00000556 kWh (20.0 J), 100% measured",
        "building     0.00000833 kWh by a PUE of 1.5, assumed",
        "emissions    0.00000125 kg CO2e (average intensity, 300 g/kWh measured), 100% assumed",
        "0.00000125 kg CO2e (marginal intensity, 300 g/kWh measured), 100% assumed",
        "went to      50.0% requests, 40.0% idle, 10.0% unattributed",
        "a request    0.500 J of own work; 1.00 J with idle and unattributed shared out",
        "1,000 items  50.0 J of own work; 100 J with idle and unattributed shared out",
    ):
        assert line in told
    assert "unbalanced" not in told


def test_text_has_a_line_for_each_row_under_its_header(ledger: Ledger) -> None:
    lines = text(report(ledger)).splitlines()
    header = next(n for n, line in enumerate(lines) if line.startswith("stage"))
    assert lines[header].split("  ")[0] == "stage"
    assert [line.split()[0] for line in lines[header + 1 :]] == ["rank", "idle", "unattributed"]
    assert lines[header + 1].split()[:5] == ["rank", "din", "4", "200", "50.0"]
    assert lines[header + 1].split()[5:] == ["10.0", "50.0%", "0.000625", "0.000625", "100%"]


@pytest.mark.parametrize("by", ALL_BY)
def test_no_width_cuts_a_figure(ledger: Ledger, by: By) -> None:
    told = report(ledger, by)
    assert text(told, 20).split() == text(told, 200).split()
    assert "…" not in text(told, 20)


def test_energy_whose_intensity_nobody_knew_is_told() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1, intensity=None))
    assert "no intensity was known for all of it: no CO2e is told of that" in text(report(ledger))
    assert "kg CO2e" not in text(report(ledger))
    ledger.write(window(2, MIDNIGHT_S + 2))
    assert "no intensity was known for 0.00000278 kWh" in text(report(ledger))


def test_a_ledger_that_does_not_balance_says_so() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1, devices=(device(10.0),), shares=(share(3.0),), pools=()))
    assert "unbalanced   devices drew 7.00 J more than their parts add up to" in text(report(ledger))


@pytest.mark.parametrize("by", ALL_BY)
def test_csv_has_all_figures_in_full(ledger: Ledger, by: By) -> None:
    told = report(ledger, by)
    rows = table(told)
    assert len(rows) == len(told.rows)
    for line, row in zip(rows, told.rows, strict=True):
        assert float(line["energy_j"]) == row.energy_j
        assert float(line["measured_share"]) == row.known.measured
        of_kind = {one.intensity: one.kg_co2e for one in row.emissions}
        for kind in Kind:
            assert line[f"kg_co2e_{kind.value}"] == ("" if kind not in of_kind else str(of_kind[kind]))


def test_csv_by_hour_can_be_summed_to_the_total(ledger: Ledger) -> None:
    told = report(ledger, "hour")
    for name in ("energy_j", "requests", "items", "attributed_j", "idle_j", "unattributed_j", "covered_s"):
        assert sum(float(line[name]) for line in table(told)) == getattr(told.total, name), name


def test_json_can_be_read_back(ledger: Ledger) -> None:
    told = report(ledger)
    assert EnergyReport.model_validate_json(told.model_dump_json()) == told


@pytest.mark.parametrize("by", ALL_BY)
def test_the_page_is_whole_escaped_and_fetches_nothing(ledger: Ledger, by: By) -> None:
    html = page(reports(ledger, by))
    seen = Page(html)
    assert not seen.open
    assert not seen.fetched
    assert "url(" not in html
    assert "<script" not in html
    assert html.isascii()
    assert any("a folder/ledger <1>.sqlite" in said for said in seen.said)
    assert "20.0 " in seen.said


def test_the_page_holds_the_same_lines_as_the_text(ledger: Ledger) -> None:
    cells = Page(page(reports(ledger))).cells
    assert cells[:4] == ["rank", "din", "4", "200"]
    assert "unattributed" in cells


def test_the_chart_has_a_column_for_each_hour_and_none_for_a_gap(ledger: Ledger) -> None:
    html = page(reports(ledger, "hour"))
    assert re.findall(r"<title>(2025.*?)</title>", html)[:2] == [
        "2025-11-25T00:00Z: 10.0 J, 10 requests",
        "2025-11-25T02:00Z: 10.0 J, 10 requests",
    ]
    columns = re.findall(r'<rect class="work" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', html)
    (first, wide), (second, _) = ((float(x), float(width)) for x, width in columns)
    assert second - first > 2 * wide - 5, "the hour between is left free"
    assert second + wide <= 960


def test_the_chart_stacks_what_joules_went_to(ledger: Ledger) -> None:
    html = page(reports(ledger, "hour"))
    heights = [float(h) for h in re.findall(r'<rect class="\w+"[^>]* height="([\d.]+)"', html)[:3]]
    assert [height / heights[0] for height in heights] == pytest.approx([1.0, 0.8, 0.2], abs=0.01)


def test_a_page_of_machines_at_rest_can_be_drawn() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1, devices=(device(0.0),), shares=(), pools=(), requests=0, items=0))
    for by in ALL_BY:
        assert "nan" not in page(reports(ledger, by))
        assert text(report(ledger, by))
