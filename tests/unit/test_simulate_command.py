"""`greenflow simulate` as a command: reports, comparisons, a ledger that report reads, and a day that is stopped."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

import cluster.commands.simulate as simulate
from cluster.cli import greenflow
from cluster.simulation.compare import cases, limit_of
from cluster.simulation.day import Day, Row
from models.errors import FixFile, FixRequest, FixSetup

SMALL = {
    "name": "small",
    "shows": "Three hours <of> nothing much.",
    "hours": 3,
    "window_s": 600,
    "users": 100,
    "known_days": 1,
    "capacity_share": 0,
    "traffic": {"regions": {"world": {"rps": 20000, "swing": 0.2}}},
    "nodes": {"fleet": {"region": "world", "count": 100}},
    "grid": {"diurnal": {}},
    "limits": [{"kind": "power", "limit": "90%"}],
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL), encoding="utf-8")
    return path


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(greenflow, ["simulate", *map(str, arguments)])


def runs(result: Result) -> list[dict[str, Any]]:
    assert result.exit_code == 0, result.output
    found: list[dict[str, Any]] = json.loads(result.stdout)["runs"]
    return found


def test_what_ships_is_listed_with_what_it_shows() -> None:
    told = command("--list").stdout
    for name in ("steady", "diurnal", "flash-crowd", "dirty-grid-evening", "sensor-loss", "region-failover"):
        assert f"{name}\n" in told
    assert "clean hours get the longer chains" in told


def test_a_day_is_told_in_words(small: Path) -> None:
    result = command(small)
    assert result.exit_code == 0, result.output
    assert "small: Three hours <of> nothing much." in result.stdout
    assert "18 windows of 600 s on 100 machines" in result.stdout
    for word in (
        "kWh",
        "kg CO2e",
        "of the hindsight optimum",
        "of the best fixed chains",
        "off what was drawn",
        "power",
    ):
        assert word in result.stdout


def test_the_same_in_json_has_every_window_once(small: Path) -> None:
    (run,) = runs(command(small, "--json"))
    assert run["complete"]
    assert run["windows"] == run["planned"] == len(run["series"]["hours"]) == 18
    assert sum(run["series"]["power_w"]) * 600 == pytest.approx(run["joules"])
    (limit,) = run["limits"]
    assert limit["name"] == "power"
    assert run["series"]["limit_w"]["power"][1] == pytest.approx(limit["limit"])
    assert sum(shares[5] for shares in run["series"]["mix"].values()) == pytest.approx(1.0)


def test_the_page_fetches_nothing_and_escapes_what_scenarios_say(small: Path) -> None:
    result = command(small, "--html")
    assert result.exit_code == 0, result.output
    page = result.stdout
    assert page.isascii()
    assert not re.search(r"<script|<link|@import|url\(|https?://", page)
    assert "Three hours &lt;of&gt; nothing much." in page
    assert page.count("<svg") == page.count("</svg>") == 6
    assert not re.search(r"\bnan\b", page, re.IGNORECASE)


def test_budgets_are_compared_with_none_static_and_the_best_fixed_chain(small: Path) -> None:
    found = runs(command(small, "--limit", "power=none,95%,85%", "--json"))
    assert [run["limits_asked"] for run in found] == ["power none", "power 95%", "power 85%"]
    free, more, less = found
    assert free["limits"] == []
    assert free["joules"] > more["joules"] > less["joules"]
    assert free["predicted"] > more["predicted"] > less["predicted"]
    told = command(small, "--limit", "power=none,90%").stdout
    assert "static chain" in told
    assert "of best fixed" in told
    both = command(small, "--limit", "power=none,90%", "--html").stdout
    assert "Side by side" in both


def test_a_ledger_is_left_that_report_reads_and_none_is_written_over(small: Path, tmp_path: Path) -> None:
    file = tmp_path / "out" / "day.sqlite"
    (run,) = runs(command(small, "--ledger", file, "--json"))
    report = CliRunner().invoke(greenflow, ["report", "--ledger", str(file), "--by", "hour", "--json"])
    assert report.exit_code == 0, report.output
    read = json.loads(report.stdout)
    assert read["total"]["energy_j"] == pytest.approx(run["billed_j"])
    assert read["total"]["requests"] == pytest.approx(run["requests"], rel=1e-4)
    again = command(small, "--ledger", file)
    assert isinstance(again.exception, FixSetup)
    assert "is there already" in str(again.exception)
    several = command(small, "--ledger", tmp_path / "new.sqlite", "--budget", "none,90%")
    assert isinstance(several.exception, FixSetup)


class Interrupted(Day):
    """Somebody presses Ctrl-C in the sixth window."""

    def rows(self) -> Iterator[Row]:
        for n, row in enumerate(super().rows()):
            if n == 5:
                raise KeyboardInterrupt
            yield row


@pytest.mark.parametrize("several", [False, True])
def test_who_stops_a_day_keeps_what_was_played(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    monkeypatch.setattr(simulate, "Day", Interrupted)
    more = ("--budget", "none,90%") if several else ("--ledger", tmp_path / "day.sqlite")
    result = command(small, *more)
    assert result.exit_code == 130
    assert "stopped after 6 of 18 windows" in result.stdout
    assert "stopped: what is told is of the windows that were played" in result.stderr
    if not several:
        ledger = CliRunner().invoke(greenflow, ["report", "--ledger", str(tmp_path / "day.sqlite"), "--json"])
        assert json.loads(ledger.stdout)["total"]["covered_s"] == 3600


@pytest.mark.parametrize("asked", ["power=0", "carbon-hour=0%"])
def test_a_limit_of_nothing_is_exceeded_without_end(small: Path, asked: str) -> None:
    (run,) = runs(command(small, "--limit", asked, "--json"))
    (limit,) = run["limits"]
    assert (limit["limit"], limit["used"], limit["over"], limit["most"]) == (0, 1, None, None)
    assert limit["unreachable"] == run["degraded"] > 15
    assert re.search(r"0 (W|g/h) +100.00% +∞ +∞ ", command(small, "--limit", asked).stdout)
    assert "<td>&#8734;</td>" in command(small, "--limit", asked, "--html").stdout


def test_what_is_asked_wrongly_is_told() -> None:
    assert isinstance(command("no-such-day").exception, FixFile)
    assert "name a scenario" in command().output
    assert "--json and --html" in command("steady", "--json", "--html").output
    with pytest.raises(FixRequest, match="'watts' is none of power, energy"):
        limit_of("watts", "1")
    with pytest.raises(FixRequest, match="power=much: give a number in W"):
        limit_of("power", "much")
    with pytest.raises(FixRequest, match="no NAME=VALUE"):
        cases(None, ["power"])
    with pytest.raises(FixRequest, match="power has no value"):
        cases(None, ["power="])
    with pytest.raises(FixRequest, match="energy is named more than once"):
        cases("80%", ["energy=70%"])


def test_windows_that_are_too_short_for_a_long_day_are_told(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(yaml.safe_dump({**SMALL, "hours": 48}), encoding="utf-8")
    error = command(path, "--window-s", "1").exception
    assert isinstance(error, FixRequest)
    assert str(error) == "--window-s: hours: 172,800 windows are too many; make window_s longer"


def test_limits_of_several_names_hold_together_and_values_follow_one_another() -> None:
    found = cases("none, 80%", ["power=90%"])
    assert list(found) == ["energy none, power 90%", "energy 80%, power 90%"]
    assert [[limit.chosen_name for limit in limits] for limits in found.values()] == [["power"], ["energy", "power"]]


def test_a_seed_and_a_window_may_be_given(small: Path) -> None:
    first, other = (runs(command(small, "--seed", str(seed), "--window-s", "900", "--json"))[0] for seed in (1, 2))
    assert first["windows"] == 12
    assert first["joules"] != other["joules"]
