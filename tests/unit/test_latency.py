"""Latency: what is learned of parts adds up to what chains take, with some room, and nothing is believed for ever."""

import numpy as np
import pytest
from fake_time import FakeTime
from hypothesis import given
from hypothesis import strategies as st
from small_space import SPACE

from cluster.latency import FEWEST, HALVES_S, MOST_OFF, SHARP_S, Latency, Name, Part, Spans, TimeLeft, in_time

CATALOGUE = 1000
SECONDS: dict[Name, tuple[float, float]] = {
    ("s0", "v0-0"): (1e-3, 1e-7),
    ("s1", "v1-0"): (5e-4, 1e-6),
    ("s1", "v1-1"): (2e-3, 4e-6),
    ("s2", "v2-0"): (1e-3, 1e-5),
    ("s2", "v2-1"): (4e-3, 5e-5),
}
AROUND_S, EACH_S = 2e-3, 1e-4
DEAREST, CHEAPEST = SPACE.chains[int(SPACE.flops.argmax())], SPACE.chains[int(SPACE.flops.argmin())]


def batch(chain: int, rows: int, factor: float = 1.0) -> tuple[Spans, int, float]:
    """What a micro-batch of one chain takes in this world."""
    spans = Spans()
    for at, action in enumerate(SPACE.chains[chain].actions):
        name = action.stage, str(action.variant)
        items = rows * action.items
        run_s, item_s = SECONDS[name]
        spans.ran(Part(name, rows, items if at else None, factor * (run_s + item_s * items)))
    return spans, rows, spans.path_s + factor * (AROUND_S + EACH_S * rows)


def took_s(chain: int, rows: int) -> float:
    return batch(chain, rows)[2]


def learned(time: FakeTime, batches: int = 300, seed: int = 0, noise: float = 0.05) -> Latency:
    latency, rng = Latency(SPACE, time), np.random.default_rng(seed)
    for _ in range(batches):
        time.now_s += 0.01
        chain, rows = int(rng.integers(len(SPACE))), int(rng.integers(1, 65))
        latency.saw(*batch(chain, rows, float(rng.lognormal(0, noise))))
    return latency


@pytest.mark.parametrize("rows", [1, 8, 64])
@pytest.mark.parametrize("chain", [DEAREST.index, CHEAPEST.index, 7])
def test_a_chain_is_said_to_take_what_nearly_all_micro_batches_of_it_take_and_not_much_more(
    rows: int, chain: int
) -> None:
    said_s = learned(FakeTime()).chains_s(rows)[chain]
    assert took_s(chain, rows) < said_s < 1.4 * took_s(chain, rows)


def test_longer_runs_of_which_none_was_seen_are_judged_by_shorter_ones() -> None:
    time = FakeTime()
    latency = Latency(SPACE, time)
    for rows in [1, 2, 3, 4, 5] * 20:
        latency.saw(*batch(DEAREST.index, rows))
    assert latency.chains_s(64)[DEAREST.index] == pytest.approx(took_s(DEAREST.index, 64), rel=0.3)


def test_the_quantile_covers_most_of_what_comes() -> None:
    time = FakeTime()
    latency, rng = learned(time, noise=0.4), np.random.default_rng(9)
    said_s = latency.chains_s(16)[DEAREST.index]
    factors = rng.lognormal(0, 0.4, 1000)
    assert np.mean(factors * took_s(DEAREST.index, 16) < said_s) > 0.9


def test_a_whole_micro_batch_takes_its_parts_one_after_the_other() -> None:
    latency = learned(FakeTime())
    mixed = np.array([DEAREST.index] * 3 + [CHEAPEST.index] * 5)
    parts_s = sum(
        sum(part.took_s for part in batch(chain, rows)[0].parts[1:])
        for chain, rows in ((DEAREST.index, 3), (CHEAPEST.index, 5))
    )
    recall_s = batch(DEAREST.index, 8)[0].parts[0].took_s
    true_s = recall_s + parts_s + AROUND_S + EACH_S * 8
    assert true_s < latency.batch_s(mixed) < 1.4 * true_s


def test_of_what_has_never_run_nothing_is_said_and_fewer_flops_count_as_quicker() -> None:
    latency = Latency(SPACE, FakeTime())
    said_s = latency.chains_s(64)
    assert said_s.max() < 1e-6
    assert said_s.argmin() == CHEAPEST.index
    for _ in range(FEWEST - 1):
        latency.saw(*batch(DEAREST.index, 1))
    assert latency.chains_s(64).max() < 1e-6


def test_one_stall_makes_no_chain_slow() -> None:
    time = FakeTime()
    latency = learned(time)
    before = latency.chains_s(8)[DEAREST.index]
    latency.saw(*batch(DEAREST.index, 8, 1000.0))
    time.now_s += 1.0
    assert latency.chains_s(8)[DEAREST.index] < 1.2 * before


def test_a_machine_that_slows_down_is_followed_within_a_hundred_micro_batches() -> None:
    time = FakeTime()
    latency, rng = learned(time), np.random.default_rng(5)
    for _ in range(100):
        latency.saw(*batch(DEAREST.index, int(rng.integers(1, 65)), 3.0))
    time.now_s += 1.0
    assert latency.chains_s(8)[DEAREST.index] > 3 * took_s(DEAREST.index, 8)


def test_what_has_not_run_for_long_is_tried_again() -> None:
    time = FakeTime()
    latency = learned(time)
    fresh = latency.chains_s(8)[DEAREST.index]
    time.now_s += SHARP_S
    assert latency.chains_s(8)[DEAREST.index] == pytest.approx(fresh, rel=0.01)
    time.now_s += HALVES_S
    assert latency.chains_s(8)[DEAREST.index] == pytest.approx(fresh / 2, rel=0.01)


def test_parts_side_by_side_take_the_time_of_the_longest() -> None:
    spans, together = Spans(), Spans()
    spans.ran(Part(("s0", "v0-0"), 4, None, 0.5))
    for name, seconds in ((("s1", "v1-0"), 0.2), (("s1", "v1-1"), 0.3)):
        together.ran(Part(name, 2, 10, seconds))
    spans.ran_together(together)
    assert spans.path_s == pytest.approx(0.8)
    assert len(spans.parts) == 3


SEEN = st.tuples(st.integers(0, len(SPACE) - 1), st.integers(1, 1024), st.floats(0, 1e4), st.floats(0, 1e5))


@given(st.lists(SEEN, max_size=30))
def test_whatever_is_seen_chains_take_a_finite_time_that_is_never_negative(
    seen: list[tuple[int, int, float, float]],
) -> None:
    time = FakeTime()
    latency = Latency(SPACE, time)
    for chain, rows, factor, pause_s in seen:
        time.now_s += pause_s
        latency.saw(*batch(chain, rows, factor))
    said_s = latency.chains_s(64)
    assert np.isfinite(said_s).all()
    assert (said_s >= 0).all()
    assert said_s.max() < 1e3 * MOST_OFF * max([took_s(c, 1024) * max(f, 1.0) for c, _, f, _ in seen], default=1.0)


TIME = TimeLeft(np.array([0.5, 0.05, 0.001, np.inf]), np.array([0.4, 0.04, 0.02]))


def test_chains_that_would_be_late_are_left_out_and_the_quickest_is_taken_where_all_would_be() -> None:
    allowed, fits = in_time(TIME, np.ones(3, bool))
    assert allowed.tolist() == [[True] * 3, [False, True, True], [False, False, True], [True] * 3]
    assert fits.tolist() == [True, True, False, True]


def test_the_quickest_is_one_that_is_available() -> None:
    allowed, fits = in_time(TIME, np.array([True, True, False]))
    assert allowed.tolist() == [[True, True, False], [False, True, False], [False, True, False], [True, True, False]]
    assert fits.tolist() == [True, True, False, True]


def test_rows_are_taken_with_their_time() -> None:
    assert TIME.take(np.array([3, 1])).left_s.tolist() == [np.inf, 0.05]
