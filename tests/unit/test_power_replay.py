"""Recordings of sensors: written, read back, and played."""

from dataclasses import replace
from pathlib import Path

import pytest
import sysfs_tree
from hypothesis import given
from hypothesis import strategies as st
from power_machine import BootClock, Machine

from allocator.joules import Quality
from cluster.power.base import Counter
from cluster.power.fake import FakeSensor
from cluster.power.recording import COLUMNS, KINDS, load, record
from cluster.power.replay import ReplaySensor
from models.errors import FixFile, SensorLost

PACKAGE = Counter("package-0", "cpu", "package", "rapl", Quality.MEASURED, 5.0, 90.0, 100.0, 50.0, "boot")
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@given(
    st.builds(
        Counter,
        device=NAMES,
        pool=NAMES,
        kind=st.sampled_from(KINDS),
        source=NAMES,
        quality=st.sampled_from(Quality),
        at_s=st.floats(0, 1e9),
        energy_j=st.floats(0, 1e9),
        range_j=st.floats(1e9, allow_nan=False),
        most_w=st.floats(1e-3, allow_nan=False),
        epoch=st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])),
        live=st.booleans(),
    )
)
def test_a_reading_comes_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, counter: Counter) -> None:
    file = tmp_path_factory.mktemp("run") / "run.csv"
    assert record([FakeSensor(counter)], file, 0.0, 1.0, clock=BootClock()) == 1
    assert load(file) == (counter,)


def test_a_recording_holds_every_poll_and_leaves_out_what_is_lost(tmp_path: Path) -> None:
    clock, sensor = BootClock(), FakeSensor(PACKAGE)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        sensor.draw({"package-0": 10.0}, clock())
        sensor.gone = {"package-0": "unplugged"} if clock() == 1002.0 else {}

    assert record([sensor], tmp_path / "run.csv", 4.0, 1.0, clock=clock, sleep=sleep) == 4
    assert [counter.at_s for counter in load(tmp_path / "run.csv")] == [5.0, 1001.0, 1003.0, 1004.0]


def test_a_replay_draws_what_was_recorded_at_the_speed_of_its_clock(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    record([machine.rapl()], tmp_path / "run.csv", 10.0, 1.0, clock=machine.clock, sleep=machine.pass_s)
    clock = BootClock()
    clock.now_s = 77_000.0
    sensor = ReplaySensor.open(tmp_path / "run.csv", clock=clock)
    first = {counter.device: counter for counter in sensor.read()}
    clock.sleep(7.4)
    later = {counter.device: counter for counter in sensor.read()}
    assert later.keys() == machine.tree.board.counted.keys()
    assert later["package-0"].energy_j - first["package-0"].energy_j == pytest.approx(60.0 * 7, abs=1e-5)
    assert later["package-0"].at_s == pytest.approx(77_007.0)
    assert {counter.source for counter in later.values()} == {"replay"}


def test_a_replay_that_starts_over_is_another_counter(tmp_path: Path) -> None:
    record([FakeSensor(PACKAGE)], tmp_path / "run.csv", 0.0, 1.0, clock=BootClock())
    clock = BootClock()
    one = ReplaySensor.open(tmp_path / "run.csv", clock=clock).read()[0]
    clock.sleep(0.5)
    other = ReplaySensor.open(tmp_path / "run.csv", clock=clock).read()[0]
    assert one.epoch != other.epoch
    assert one.epoch.endswith("boot")


def test_a_device_whose_recording_ends_is_told_and_when_all_end_it_is_lost(tmp_path: Path) -> None:
    clock, gpu = BootClock(), replace(PACKAGE, device="GPU-1", pool="GPU-1", kind="gpu")
    sensor = FakeSensor(replace(PACKAGE, at_s=1000.0), replace(gpu, at_s=1000.0))

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        sensor.draw({"package-0": 1.0, "GPU-1": 1.0}, clock())
        sensor.gone = {"GPU-1": "unplugged"} if clock() > 1002 else {}

    record([sensor], tmp_path / "run.csv", 6.0, 1.0, clock=clock, sleep=sleep)
    replay = ReplaySensor.open(tmp_path / "run.csv", clock=clock)
    assert len(replay.read()) == 2
    clock.sleep(5.0)
    assert [counter.device for counter in replay.read()] == ["package-0"]
    assert [refusal.what for refusal in replay.refusals] == ["GPU-1"]
    clock.sleep(5.0)
    with pytest.raises(SensorLost, match="is over"):
        replay.read()


HEADER = ",".join(COLUMNS)
GOOD = "1.0,package-0,cpu,package,rapl,measured,5.0,100.0,50.0,boot,true"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "line 1"),
        ("at_s,device\n1.0,package-0\n", "line 1"),
        (f"{HEADER}\n", "holds no reading"),
        (f"{HEADER}\n{GOOD}\n1.0,package-0\n", "line 3"),
        (f"{HEADER}\n{GOOD.replace('1.0', 'soon', 1)}\n", "line 2, at_s"),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('5.0', 'nan', 1)}\n", "line 3, energy_j"),
        (f"{HEADER}\n{GOOD.replace('5.0', '100.5', 1)}\n", "line 2, energy_j"),
        (f"{HEADER}\n{GOOD.replace('5.0', '-1', 1)}\n", "line 2, energy_j"),
        (f"{HEADER}\n{GOOD.replace('100.0', '0')}\n", "line 2, range_j"),
        (f"{HEADER}\n{GOOD.replace(',50.0', ',-50.0')}\n", "line 2, most_w"),
        (f"{HEADER}\n{GOOD.replace('measured', 'guessed')}\n", "line 2, quality"),
        (f"{HEADER}\n{GOOD.replace(',package,', ',socket,')}\n", "line 2, kind"),
        (f"{HEADER}\n{GOOD.replace('package-0', '')}\n", "line 2, device"),
        (f"{HEADER}\n{GOOD.replace('true', 'yes')}\n", "line 2, live"),
        (f"{HEADER}\n{GOOD}\n{GOOD.replace('1.0', '0.5', 1)}\n", "at_s: package-0"),
    ],
)
def test_a_bad_recording_is_refused_naming_line_and_column(tmp_path: Path, text: str, field: str) -> None:
    (tmp_path / "run.csv").write_text(text)
    with pytest.raises(FixFile, match=field):
        ReplaySensor.open(tmp_path / "run.csv")


def test_a_recording_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("run.csv", "nothing.csv"):
        with pytest.raises(FixFile, match=name):
            ReplaySensor.open(tmp_path / name)
