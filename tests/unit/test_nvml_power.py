"""Stand-in GPUs that draw what processors work."""

import json
from pathlib import Path

import pytest
from nvml_power import KINDS, LOST, Drawing, Watts
from nvml_stand_in import StandIn


class Work:
    """CPU seconds that a test says were worked."""

    busy_s = 10.0

    def __call__(self) -> float:
        return self.busy_s


@pytest.fixture
def work() -> Work:
    return Work()


@pytest.fixture
def drawing(tmp_path: Path, work: Work) -> Drawing:
    stand_in = StandIn(tmp_path / "libnvidia-ml.so.1", list(KINDS.values()))
    return Drawing(stand_in, Watts(idle_w=40, full_w=240), work, cpus=2, now_s=100.0)


def test_power_runs_from_idle_to_full_with_the_share_of_processors_at_work(drawing: Drawing, work: Work) -> None:
    drawing.tick(101.0)
    assert drawing.drawn_j == pytest.approx(40)
    work.busy_s += 1
    drawing.tick(102.0)
    assert drawing.drawn_j == pytest.approx(40 + 140)
    assert [(gpu.mj, gpu.mw) for gpu in drawing.stand_in.gpus] == [(180_000, 140_000)] * 2


def test_a_reload_starts_the_counters_again_but_not_the_truth(drawing: Drawing) -> None:
    drawing.tick(101.0)
    drawing.reload()
    assert [gpu.mj for gpu in drawing.stand_in.gpus] == [0, 0]
    drawing.tick(102.0)
    assert drawing.counted_j == pytest.approx(40)
    assert json.loads(drawing.truth(102.0))["drawn_j"] == {gpu.uuid: pytest.approx(80) for gpu in KINDS.values()}


def test_a_lost_gpu_draws_on_and_comes_back(drawing: Drawing) -> None:
    drawing.lose(LOST)
    drawing.tick(101.0)
    assert [gpu.error for gpu in drawing.stand_in.gpus] == [LOST, 0]
    drawing.lose(0)
    assert drawing.stand_in.gpus[0].error == 0
    assert drawing.stand_in.gpus[0].mj == 40_000
