"""Joules of variants from a profile: of each run, and of what they are made of, a call and its items."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from models.profile import Timing
from models.spec import CascadeSpec, Device

IDLE_S = 2.0


@dataclass(frozen=True, slots=True)
class BusyWatts:
    """What is assumed to be drawn above idle: by a core that is busy, and by a GPU."""

    core_w: float = 10.0
    gpu_w: float = 200.0

    @property
    def statement(self) -> str:
        """In words, for reports."""
        return f"{self.core_w:g} W for a busy core and {self.gpu_w:g} W for a busy GPU, both above idle and assumed"


@dataclass(frozen=True, slots=True)
class VariantFit:
    """Joules of a variant's run with so many items in all: call_j + item_j x items, both >= 0, above idle.

    typical_items  the median of what was measured
    fit_error      root mean square of the relative differences between the runs and this line
    quality        measured where a meter was read around the runs, else modelled from milliseconds and watts
    """

    stage: str
    variant: str
    call_j: float
    item_j: float
    typical_items: float
    fit_error: float
    quality: Literal["measured", "modelled"]


def fitted(spec: CascadeSpec, timings: Sequence[Timing], watts: BusyWatts) -> list[VariantFit]:
    """A line through each variant's runs, by non-negative least squares of relative errors."""
    return [
        _line(stage.name, variant.name, own, watts.gpu_w if variant.device is Device.CUDA else watts.core_w * threads)
        for stage in spec.stages
        for variant in stage.variants
        for threads in (variant.threads,)
        if (own := [t for t in timings if (t.stage, t.variant) == (stage.name, variant.name)])
    ]


def idle_watts(joules: Callable[[], float], clock: Callable[[], float], sleep: Callable[[float], None]) -> float:
    """What is drawn while this process sleeps; `joules` is a cumulative counter."""
    start_j, start_s = joules(), clock()
    sleep(IDLE_S)
    return (joules() - start_j) / (clock() - start_s)


def _line(stage: str, variant: str, timings: Sequence[Timing], busy_w: float) -> VariantFit:
    from scipy.optimize import nnls  # 0.3 s, which replicas that fit nothing are spared

    measured = all(t.run_j is not None for t in timings)
    run_j = np.array([t.run_j if measured and t.run_j is not None else t.run_ms / 1e3 * busy_w for t in timings])
    items = np.array([float(t.rows * t.items) for t in timings])
    size = np.maximum(run_j, max(float(run_j.max()) * 1e-3, 1e-12))
    weighed = np.stack([1 / size, items / size], axis=1)
    # Columns of one length, or the solver's tolerance would take small joules of an item for nothing.
    length = np.linalg.norm(weighed, axis=0)
    solution, _ = nnls(weighed / length, run_j / size)
    call_j, item_j = (solution / length).tolist()
    error = (call_j + item_j * items - run_j) / size
    return VariantFit(
        stage,
        variant,
        call_j,
        item_j,
        float(np.median(items)),
        float(np.sqrt(np.mean(error**2))),
        "measured" if measured else "modelled",
    )
