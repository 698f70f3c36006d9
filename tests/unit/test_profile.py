"""The profile: every variant and item number is timed, and the advice follows the timings."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_cascade import TinyCascade

from cluster.commands.profile import command
from models.loading import Cascade
from models.profile import Timing, advise, profile
from models.spec import Placement, read_spec


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
