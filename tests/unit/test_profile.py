"""The profile: every variant and item number is timed, and advice and joules follow the timings."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_cascade import TinyCascade

from allocator.energy.prior import from_profile
from allocator.joules import Quality
from cluster.commands.profile import command
from cluster.commands.profile_meters import Drawn, meters_of
from cluster.power.base import Counter, Refusal
from models.loading import Cascade
from models.profile import Meter, Timing, advise, profile
from models.profile_joules import BusyWatts, fitted, idle_watts
from models.spec import Device, Placement, read_spec


class Clock:
    """Each look at it is a millisecond later."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 1e-3
        return self.now_s


def test_every_variant_is_timed_at_every_item_number_and_number_of_rows(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    timings = list(profile(cascade, [1, 3], repeats=3, seed=0, clock=Clock()))
    expected = {
        (stage.name, variant.name, rows, items)
        for at, stage in enumerate(cascade.spec.stages)
        for variant in stage.variants
        for rows in (1, 3)
        for items in (stage.items if at else (len(cascade.items),))
    }
    assert {(t.stage, t.variant, t.rows, t.items) for t in timings} == expected
    assert len(timings) == len(expected)
    assert [t.run_ms for t in timings] == pytest.approx([1.0] * len(timings))


def timings_of(cascade: Cascade, fine_ms: float) -> list[Timing]:
    return [
        Timing(stage.name, variant.name, rows, 8, (fine_ms if variant.name == "fine" else 0.1) * rows)
        for stage in cascade.spec.stages
        for variant in stage.variants
        for rows in (1, 16)
    ]


@pytest.mark.parametrize(("fine_ms", "placement"), [(0.1, Placement.INLINE), (0.2, Placement.OWN)])
def test_a_variant_is_worth_a_deployment_when_its_work_costs_more_than_a_hop(
    tiny: TinyCascade, fine_ms: float, placement: Placement
) -> None:
    cascade = Cascade.open(tiny.folder)
    advice = {a.variant: a for a in advise(cascade, timings_of(cascade, fine_ms), hop_ms=2.0)}
    assert advice["fine"].placement is placement
    assert advice["light"].placement is Placement.INLINE


def test_the_batch_limit_is_where_a_request_is_cheapest(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    timings = [t for t in timings_of(cascade, 0.1) if t.variant != "fine"]
    timings += [Timing("rank", "fine", rows, 8, ms) for rows, ms in ((1, 1.0), (8, 4.0), (64, 64.0))]
    advice = {a.variant: a for a in advise(cascade, timings)}
    assert advice["fine"].max_rows == 8


def test_the_command_writes_its_advice_into_the_file_and_nothing_else(broken: TinyCascade) -> None:
    before = read_spec(broken.folder)
    result = CliRunner().invoke(
        command, ["--cascade", str(broken.folder), "--rows", "2", "--repeats", "1", "--write", "--json"]
    )
    assert result.exit_code == 0, result.output
    after = read_spec(Path(broken.folder))
    assert {v.max_rows for s in after.stages for v in s.variants} == {2}

    def rest(spec: object) -> object:
        return spec.model_dump(exclude={"stages": {"__all__": {"variants": {"__all__": {"placement", "max_rows"}}}}})

    assert rest(after) == rest(before)


def lines_of(cascade: Cascade, call_ms: float, item_ms: float) -> list[Timing]:
    return [
        Timing(stage.name, variant.name, rows, items, call_ms + item_ms * rows * items)
        for stage in cascade.spec.stages
        for variant in stage.variants
        for rows in (1, 8, 64)
        for items in (4, 8)
    ]


def test_a_variants_joules_are_the_line_through_its_runs_times_watts(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    fits = fitted(cascade.spec, lines_of(cascade, 0.5, 1e-4), BusyWatts(core_w=20.0))
    assert [(f.stage, f.variant) for f in fits] == [(s.name, v.name) for s in cascade.spec.stages for v in s.variants]
    for fit in fits:
        assert (fit.call_j, fit.item_j) == pytest.approx((0.5e-3 * 20, 1e-7 * 20), rel=1e-6)
        assert fit.fit_error == pytest.approx(0.0, abs=1e-6)
        assert (fit.typical_items, fit.quality) == (48.0, "modelled")


def test_no_part_of_a_line_is_negative_and_its_error_is_told(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    falling = [replace(t, run_ms=10.0 / (t.rows * t.items)) for t in lines_of(cascade, 1.0, 0.0)]
    for fit in fitted(cascade.spec, falling, BusyWatts()):
        assert fit.item_j == 0.0
        assert fit.call_j > 0
        assert fit.fit_error > 0.1


def test_a_gpus_watts_and_a_variants_threads_count(tiny: TinyCascade) -> None:
    spec = Cascade.open(tiny.folder).spec
    first = spec.stages[0].variants[0]
    timings = [Timing(spec.stages[0].name, first.name, 1, items, 1.0) for items in (1, 2)]

    def call_j(**change: object) -> float:
        variant = first.model_copy(update=change)
        stage = spec.stages[0].model_copy(update={"variants": (variant,)})
        (fit,) = fitted(spec.model_copy(update={"stages": (stage,)}), timings, BusyWatts(10.0, 300.0))
        return fit.call_j

    assert call_j(threads=4) == pytest.approx(4 * 10e-3)
    assert call_j(device=Device.CUDA) == pytest.approx(300e-3)


class Machine:
    """A clock that goes on by a millisecond a look, and a counter of `watts` that any run or sleep feeds."""

    def __init__(self, watts: float) -> None:
        self.now_s, self.watts = 0.0, watts

    def clock(self) -> float:
        self.now_s += 1e-3
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    def joules(self) -> float:
        return self.watts * self.now_s


def test_joules_are_measured_above_idle_where_there_is_a_meter(tiny: TinyCascade) -> None:
    machine = Machine(watts=50.0)
    meter = Meter(machine.joules, idle_w=20.0, least_s=0.05)
    cascade = Cascade.open(tiny.folder)
    timings = list(profile(cascade, [2], repeats=1, seed=0, clock=machine.clock, meters={Device.CPU: meter}))
    # A look at the clock is all that passes: a run is a millisecond, of which 30 W are the run's.
    assert [t.run_j for t in timings] == pytest.approx([30e-3] * len(timings), rel=0.1)
    assert {fit.quality for fit in fitted(cascade.spec, timings, BusyWatts())} == {"measured"}


def test_idle_watts_are_what_is_drawn_asleep() -> None:
    machine = Machine(watts=35.0)
    assert idle_watts(machine.joules, machine.clock, machine.sleep) == pytest.approx(35.0)


class Scripted:
    """A sensor that tells of one second after the other."""

    name, poll_s, refusals = "scripted", 1.0, tuple[Refusal, ...]()

    def __init__(self, *devices: tuple[str, str, Quality, float]) -> None:
        self._devices, self._reads = devices, 0

    def read(self) -> tuple[Counter, ...]:
        self._reads += 1
        return tuple(
            Counter(name, pool, "package", "rapl", quality, float(self._reads), watts * self._reads % 100, 100.0, 300.0)
            for name, pool, quality, watts in self._devices
        )

    def close(self) -> None:
        pass


def test_a_meter_adds_up_its_own_measured_devices_through_their_wraps() -> None:
    sensor = Scripted(
        ("p0", "cpu", Quality.MEASURED, 40.0),
        ("p1", "cpu", Quality.MEASURED, 30.0),
        ("host", "cpu", Quality.MODELLED, 11.0),
        ("gpu", "gpu", Quality.MEASURED, 90.0),
    )
    drawn = Drawn([sensor], Device.CPU)
    assert [drawn() for _ in range(4)] == pytest.approx([70.0, 140.0, 210.0, 280.0])


def test_a_machine_on_which_nothing_is_measured_has_no_meter() -> None:
    machine = Machine(1.0)
    estimate = Scripted(("host", "cpu", Quality.MODELLED, 10.0))
    assert meters_of([estimate], machine.clock, machine.sleep) == {}
    gpu = Scripted(("gpu", "gpu", Quality.MEASURED, 10.0))
    assert set(meters_of([estimate, gpu], machine.clock, machine.sleep)) == {Device.CUDA}


def test_what_the_command_prints_is_where_the_energy_model_starts(tiny: TinyCascade, tmp_path: Path) -> None:
    options = ["--rows", "2", "--repeats", "1", "--no-meter", "--watts-per-core", "25", "--json"]
    result = CliRunner().invoke(command, ["--cascade", str(tiny.folder), *options])
    assert result.exit_code == 0, result.output
    path = tmp_path / "profile.json"
    path.write_text(result.stdout, encoding="utf-8")
    prior = from_profile(Cascade.open(tiny.folder).spec, path)
    assert prior.quality is Quality.MODELLED
    assert "25 W" in prior.statement
    assert json.loads(result.stdout)["idle_w"] == {}


def test_the_command_prints_joules_with_what_they_are_assumed_from(tiny: TinyCascade) -> None:
    result = CliRunner().invoke(command, ["--cascade", str(tiny.folder), "--rows", "2", "--repeats", "1", "--no-meter"])
    assert result.exit_code == 0, result.output
    assert "10 W for a busy core" in result.output
