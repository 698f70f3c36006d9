"""Scenarios: those that ship are sound, and what is wrong in a file is told with its field and a remedy."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from simulated_days import scenario

from allocator.limits import Kind, Limit
from cluster.simulation.limits import most_taken
from cluster.simulation.parts import share_of
from cluster.simulation.scenario import Scenario, find, read_scenario, shipped
from cluster.simulation.traffic import load, middles_h, routed, usual, wandering
from models.errors import FixFile

SMALL = {
    "name": "small",
    "shows": "Nothing.",
    "hours": 3,
    "traffic": {"regions": {"one": {"rps": 100}, "two": {"rps": 50}}},
    "nodes": {"a": {"region": "one", "count": 2}, "b": {"region": "two", "count": 1}},
}
NAMES = {"steady", "diurnal", "flash-crowd", "dirty-grid-evening", "sensor-loss", "region-failover"}


def written(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **changes}), encoding="utf-8")
    return path


def test_what_ships_can_be_read_is_a_whole_day_and_says_what_it_shows() -> None:
    found = [read_scenario(path) for path in shipped()]
    assert {one.name for one in found} == {path.stem for path in shipped()} == NAMES
    for one in found:
        assert one.windows * one.window_s == 86_400
        assert one.shows
        assert len(one.about) > 100


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"windw_s": 60}, "there is no key 'windw_s' here; did you mean 'window_s'?"),
        (
            {"traffic": {"regions": {"one": {"rps": 1, "swng": 0.1}}}},
            "traffic.regions.one: there is no key 'swng' here",
        ),
        ({"traffic": {"regions": {"one": {"rps": -1}}}}, "traffic.regions.one.rps: Input should be greater than"),
        ({"nodes": {"a": {"region": "noe", "count": 2}}}, "nodes.a.region: there is no 'noe'; did you mean 'one'?"),
        ({"failures": [{"group": "c", "at_h": 1, "hours": 1}]}, "failures.0.group: there is no 'c'"),
        ({"limits": [{"kind": "power", "limit": "some"}]}, "limits.0: a limit is a number or a share such as 80%"),
        ({"limits": [{"kind": "power", "limit": 1, "unit": "g/h"}]}, "limits.0: unit: 'g/h' does not go with power"),
        ({"limits": [{"kind": "power", "limit": 1}] * 2}, "two have one name"),
        ({"grid": {"g_per_kwh": 1, "series": [1]}}, "grid: give one of g_per_kwh, series, file and diurnal"),
        ({"hours": 700, "window_s": 1}, "windows are too many"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_field(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    path = written(tmp_path, **changes)
    with pytest.raises(FixFile) as caught:
        read_scenario(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_file_that_is_none_and_a_name_that_is_nearly_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match="did you mean diurnal"):
        find("diurnall")
    with pytest.raises(FixFile, match="cannot be read"):
        read_scenario(find(str(tmp_path / "absent.yaml")))
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [", encoding="utf-8")
    with pytest.raises(FixFile, match="not valid YAML"):
        read_scenario(broken)
    assert find("diurnal").stem == "diurnal"


def test_paths_in_a_file_are_taken_from_its_own_folder(tmp_path: Path) -> None:
    read = read_scenario(written(tmp_path, table="table", grid={"file": "grid.csv"}))
    assert read.table == tmp_path / "table"
    assert read.grid.file == tmp_path / "grid.csv"


@pytest.mark.parametrize(("text", "share"), [("80%", 0.8), ("0%", 0.0), ("12.5%", 0.125)])
def test_shares_are_read(text: str, share: float) -> None:
    assert share_of(text) == pytest.approx(share)
    assert share_of(3.0) is None


def test_a_share_is_of_the_highest_window_hour_or_day() -> None:
    takes = np.arange(48.0)  # of half an hour each
    assert most_taken(Limit("p", Kind.POWER, 0, "W"), takes, 1800.0) == pytest.approx(47 / 1800)
    assert most_taken(Limit("c", Kind.CARBON, 0, "g/h"), takes, 1800.0) == 46 + 47
    assert most_taken(Limit("c", Kind.CARBON, 0, "g/day"), takes, 1800.0) == takes.sum()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=6), st.floats(0, 1e6))
def test_whatever_machines_are_up_no_request_is_lost_or_sent_twice(alive: list[tuple[int, int]], rps: float) -> None:
    read = Scenario.model_validate(SMALL)
    up = np.array(alive, float)
    rates = np.full((2, len(up)), rps)
    sent = routed(read, rates, up)
    assert (sent[up == 0] == 0).all()
    np.testing.assert_allclose(sent.sum(axis=1), np.where(up.sum(axis=1) > 0, 2 * rps, 0.0))


def test_a_region_without_machines_is_served_by_the_others() -> None:
    read = Scenario.model_validate(SMALL)
    sent = routed(read, np.array([[100.0, 100.0], [50.0, 50.0]]), np.array([[2.0, 1.0], [0.0, 1.0]]))
    assert sent.tolist() == [[100.0, 50.0], [0.0, 150.0]]


def test_crowds_come_on_top_of_a_usual_day_and_chance_is_the_seeds() -> None:
    crowds = [{"at_h": 1, "hours": 1, "times": 3.0, "region": "two"}]
    read, hours = Scenario.model_validate(SMALL), middles_h(Scenario.model_validate(SMALL))
    traffic = read.traffic.model_validate({**SMALL["traffic"], "crowds": crowds})  # type: ignore[dict-item]
    usual_day, day = (load(of, hours, 60.0, np.random.default_rng(1)) for of in (read.traffic, traffic))
    inside = (hours >= 1) & (hours < 2)
    np.testing.assert_allclose(day[0], usual_day[0])
    np.testing.assert_allclose(day[1], usual_day[1] * np.where(inside, 3.0, 1.0))
    assert not np.allclose(day, load(traffic, hours, 60.0, np.random.default_rng(2)))


def test_a_usual_day_has_the_stated_mean_and_peak() -> None:
    region = scenario("diurnal").traffic.regions["world"]
    hours = np.arange(0, 24, 0.25)
    rates = usual(region, hours)
    assert rates.mean() == pytest.approx(region.rps, rel=0.02)
    assert hours[rates.argmax()] == region.peak_h


def test_a_wandering_load_strays_by_the_stated_size_around_one() -> None:
    factors = wandering(20_000, 60.0, 0.1, 600.0, np.random.default_rng(0))
    assert factors.mean() == pytest.approx(1.0, abs=0.02)
    assert np.log(factors).std() == pytest.approx(0.1, rel=0.1)
