"""`greenflow report` as a command."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ledger_windows import MIDNIGHT_S, window

from cluster.cli import greenflow
from cluster.ledger.store import Ledger
from cluster.ledger.totals import HOUR_S
from models.errors import FixFile, FixRequest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file)
    ledger.write(window(1))
    ledger.write(window(2, MIDNIGHT_S + 2 * HOUR_S))
    ledger.close()
    return file


def command(*arguments: str | Path, variables: dict[str, str] | None = None) -> Any:
    return CliRunner().invoke(greenflow, ["report", *map(str, arguments)], env=variables)


def test_the_command_prints_text_for_people(file: Path) -> None:
    result = command("--ledger", file)
    assert result.exit_code == 0, result.output
    assert "0.00000556 kWh (20.0 J), 100% measured" in result.stdout
    assert "rank" in result.stdout


def test_what_making_the_machines_emitted_is_told_beside_the_rest_and_never_added(file: Path) -> None:
    without = json.loads(command("--ledger", file, "--json").stdout)
    assert without["embodied"] is None
    for said in (
        command("--ledger", file, "--json", "--embodied-g-per-h", "50"),
        command("--ledger", file, "--json", variables={"GREENFLOW_CARBON_EMBODIED_G_PER_H": "50"}),
    ):
        told = json.loads(said.stdout)
        assert told["embodied"] == {"g_per_h": 50.0, "kg_co2e": pytest.approx(0.05 * told["total"]["covered_s"] / 3600)}
        assert {**told, "embodied": None} == without
    for form in ([], ["--html"]):
        text = command("--ledger", file, "--embodied-g-per-h", "50", *form).stdout
        assert "kg CO2e of making the machines, 50.0 g/h as stated" in " ".join(text.split())


def test_each_form_is_printed_alone(file: Path) -> None:
    told = json.loads(command("--ledger", file, "--json", "--by", "hour").stdout)
    assert (told["total"]["energy_j"], len(told["rows"])) == (20.0, 2)
    lines = command("--ledger", file, "--csv", "--by", "day").stdout.splitlines()
    assert lines[0].startswith("start,covered_s,requests")
    assert len(lines) == 2
    assert command("--ledger", file, "--html").stdout.startswith("<!doctype html>")


def test_a_period_is_chosen_with_since_and_until(file: Path) -> None:
    told = json.loads(command("--ledger", file, "--json", "--since", "2025-11-25T01:00").stdout)
    assert (told["since"], told["total"]["energy_j"]) == ("2025-11-25T01:00Z", 10.0)
    told = json.loads(command("--ledger", file, "--json", "--until", "2025-11-25T01:00").stdout)
    assert (told["until"], told["total"]["energy_j"]) == ("2025-11-25T01:00Z", 10.0)


def test_the_ledger_of_the_environment_is_read(file: Path) -> None:
    told = json.loads(command("--json", variables={"GREENFLOW_ENERGY_LEDGER": str(file)}).stdout)
    assert told["ledger"] == str(file)


def test_a_ledger_that_is_being_written_is_read(file: Path) -> None:
    writer = Ledger.open(file)
    writer.write(window(3, MIDNIGHT_S + 2 * HOUR_S + 1))
    told = json.loads(command("--ledger", file, "--json").stdout)
    assert told["total"]["windows"] == 3
    writer.close()


def test_a_wrong_period_is_named(file: Path) -> None:
    for arguments, field in ((("--since", "soon"), "since"), (("--until", "2000-01-01"), "until")):
        result = command("--ledger", file, *arguments)
        assert isinstance(result.exception, FixRequest)
        assert result.exception.field == field
        assert result.stdout == ""


def test_a_day_and_a_month_are_whole_ones_in_utc(file: Path) -> None:
    for option, name in (("--day", "2025-11-25"), ("--month", "2025-11")):
        told = json.loads(command("--ledger", file, "--json", option, name).stdout)
        assert told["total"]["energy_j"] == 20.0
        assert told["basis"]["asked_since"] == f"{(name + '-01')[:10]}T00:00Z"
    page = command("--ledger", file, "--html", "--month", "2025-11").stdout
    assert "<h1>November 2025</h1>" in page


def test_a_wrong_or_unknown_day_or_month_is_named_as_it_was_asked(file: Path) -> None:
    for option, name in (("day", "2025-11-31"), ("day", "2025-11-24"), ("month", "2025-13"), ("month", "2027-01")):
        result = command("--ledger", file, f"--{option}", name)
        assert isinstance(result.exception, FixRequest)
        assert result.exception.field == option
        assert result.stdout == ""


def test_two_ways_to_name_the_time_are_refused(file: Path) -> None:
    for second in (("--month", "2025-11"), ("--since", "24h"), ("--until", "2025-12-01")):
        result = command("--ledger", file, "--day", "2025-11-25", *second)
        assert result.exit_code == 2
        assert "name one of --day, --month, and --since with --until" in result.stderr


def test_a_ledger_of_a_newer_version_is_named(file: Path) -> None:
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 99")
    result = command("--ledger", file, "--html")
    assert isinstance(result.exception, FixFile)
    assert "was written by a newer GreenFlow (schema 99" in str(result.exception)


def test_a_missing_an_empty_and_a_damaged_ledger_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "nowhere.sqlite"
    empty = tmp_path / "empty.sqlite"
    Ledger.open(empty).close()
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_text("no database at all, but long enough to be told from an empty file")
    for file, said in ((missing, "is not there"), (empty, "holds no window yet"), (damaged, "is damaged")):
        result = command("--ledger", file)
        assert isinstance(result.exception, FixFile), result.output
        assert said in str(result.exception)
        assert str(file) in str(result.exception)
    assert not missing.exists()


def test_a_ledger_that_breaks_while_it_is_read_is_named(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)  # the first page, by which a file is known, stays
    file.write_bytes(content)
    result = command("--ledger", file)
    assert isinstance(result.exception, FixFile)
    assert "is damaged" in str(result.exception)


def test_two_forms_at_once_are_refused(file: Path) -> None:
    result = command("--ledger", file, "--csv", "--html")
    assert result.exit_code == 2
    assert "name one of --csv, --json and --html" in result.stderr


def test_help_shows_examples() -> None:
    assert "greenflow report --since 7d --by day" in command("--help").output
