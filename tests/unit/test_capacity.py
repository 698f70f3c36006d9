"""What processors can do at most, by threads and cores; and what the books say that computation costs and spends."""

import numpy as np
import pytest
from small_space import SPACE
from tiny_cascade import TinyCascade

from allocator.busy import initial
from allocator.energy.prior import GUESSED, Prior, VariantJoules
from allocator.energy.windows import SERVING
from allocator.joules import Quality
from cluster.accounts import Window
from cluster.capacity import capacity_busy_s_per_s, capacity_limit
from cluster.computing import MOST_OFF, Computing
from cluster.config import Settings
from cluster.work import Counts, WorkCounts
from models.loading import Cascade
from models.spec import CascadeSpec, Device, Placement


@pytest.fixture(scope="module")
def spec(tiny: TinyCascade) -> CascadeSpec:
    return Cascade.open(tiny.folder).spec


@pytest.mark.parametrize(
    ("changes", "cores", "most"),
    [
        ({"placement": "inline"}, 64, 2 * (1 + 1)),
        ({"placement": "inline", "batch": {"in_flight": 8}}, 64, 2 * (1 + 2)),
        ({"placement": "inline"}, 2, 2),
        ({"placement": "own"}, 64, 2 + 5),
        ({"placement": "own", "cpu_replicas": 3, "stage_threads": 2}, 64, 2 + 5 * 6),
        ({"placement": "own", "cpu_replicas": 3}, 4, 4),
        ({"placement": "own", "autoscale": {"enabled": True, "max_replicas": 4}}, 64, 2 + 5 * 4),
    ],
)
def test_replicas_can_do_what_their_threads_and_the_cores_allow(
    spec: CascadeSpec, changes: dict, cores: float, most: float
) -> None:
    assert sum(len(stage.variants) for stage in spec.stages) == 5
    settings = Settings.model_validate(changes)
    assert capacity_busy_s_per_s(settings, spec, cores, ingress_replicas=2) == most


def test_a_gpu_counts_beside_the_cores(spec: CascadeSpec) -> None:
    last = spec.stages[-1]
    on_gpu = tuple(v.model_copy(update={"device": Device.CUDA, "placement": Placement.OWN}) for v in last.variants)
    stages = (*spec.stages[:-1], last.model_copy(update={"variants": on_gpu}))
    settings = Settings.model_validate({"placement": "inline", "gpu_replicas": 3, "stage_threads": 2})
    most = capacity_busy_s_per_s(settings, spec.model_copy(update={"stages": stages}), 2, ingress_replicas=2)
    assert most == 2 + 3 * 2 * len(on_gpu)


def test_requests_may_take_a_share_of_it_or_there_is_no_such_limit(spec: CascadeSpec) -> None:
    half = Settings.model_validate({"placement": "inline", "limits": {"capacity_share": 0.5}})
    limit = capacity_limit(half, spec, cores=2, ingress_replicas=2)
    assert limit is not None
    assert (limit.name, limit.limit, limit.unit) == ("capacity", 1.0, "busy_s/s")
    off = Settings.model_validate({"limits": {"capacity_share": 0}})
    assert capacity_limit(off, spec, cores=2, ingress_replicas=2) is None


NAMES = (*SPACE.variants, SERVING)
PRIOR = Prior({name: VariantJoules(0.02, 1e-5) for name in NAMES}, GUESSED, Quality.ASSUMED, "made up", core_w=10.0)
USED = {(a.stage, str(a.variant)): a.items for a in SPACE.static.actions}
RATE, BATCHES, RUN_S = 64, 8, 0.02


def window(per_s: float) -> Window:
    executed = np.zeros(len(SPACE))
    executed[SPACE.static.index] = per_s
    return Window(executed, per_s, np.empty((0, len(SPACE)), np.float32))


def work(seconds: float) -> WorkCounts:
    """All work after so many seconds."""
    runs, busy_s = int(BATCHES * seconds), RUN_S * BATCHES * seconds
    done = {(*name, "a/cpu"): Counts(runs, int(items * RATE * seconds), busy_s) for name, items in USED.items()}
    return {**done, (*SERVING, "a/cpu"): Counts(runs, int(RATE * seconds), 0.1 * seconds)}


def test_the_books_say_what_chains_cost_what_was_spent_and_how_many_requests_share_a_run() -> None:
    known = Computing(initial(PRIOR))
    for second in range(60):
        known = known.after(SPACE, window(RATE), work(second), 1.0)
    spent_s = len(USED) * BATCHES * RUN_S + 0.1
    assert known.spent_s == pytest.approx(spent_s, rel=0.02)
    assert known.costs(SPACE)[SPACE.static.index] * RATE == pytest.approx(spent_s, rel=0.1)
    assert known.rows_per_run[next(iter(USED))] == pytest.approx(RATE / BATCHES, rel=0.02)


def test_a_report_that_comes_with_the_next_one_makes_no_peak() -> None:
    known = Computing(initial(PRIOR))
    spent = []
    for second in range(120):
        known = known.after(SPACE, window(RATE), work(second - second % 2), 1.0)
        spent.append(known.spent_s)
    true_s = len(USED) * BATCHES * RUN_S + 0.1
    assert np.abs(np.array(spent[60:]) / true_s - 1).max() < 0.15


def test_work_of_before_the_first_window_is_not_billed_to_it() -> None:
    known = Computing(initial(PRIOR)).after(SPACE, window(RATE), work(10_000), 1.0)
    assert known.spent_s == 0.0
    assert not known.busy.sums
    known = known.after(SPACE, window(RATE), work(10_001), 1.0)
    assert known.spent_s == pytest.approx(len(USED) * BATCHES * RUN_S + 0.1, rel=0.1)


def test_windows_without_requests_spend_nothing() -> None:
    known = Computing(initial(PRIOR))
    for _ in range(3):
        known = known.after(SPACE, window(0.0), {}, 1.0)
    assert known.spent_s == 0.0
    assert np.isfinite(known.costs(SPACE)).all()


@pytest.mark.parametrize("factor", [0.0, 600.0])
def test_a_replica_that_was_away_neither_hides_nor_multiplies_what_is_spent(factor: float) -> None:
    known = Computing(initial(PRIOR))
    for second in range(60):
        known = known.after(SPACE, window(RATE), work(second), 1.0)
    before_s = known.spent_s
    known = known.after(SPACE, window(RATE), work(59 + factor), 1.0)
    assert before_s / MOST_OFF / 1.1 <= known.spent_s <= before_s * MOST_OFF * 1.1
