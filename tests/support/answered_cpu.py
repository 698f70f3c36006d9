"""CPU time that a machine would take for what was answered, were its processors always equally quick.

How long real ones take for the same work varies by more than what chains save: by what else runs on the machine, and on
its host. A stand-in for meters that draws by this draws for chains, and for nothing else.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sysfs_power import watts_of
from sysfs_tree import intel_two_sockets

from allocator.chains import ChainSpace
from models.spec import CascadeSpec


class Answered(Protocol):
    """What came of a request: None for the chain of one that was not answered."""

    @property
    def chain(self) -> str | None: ...


class Answering(Protocol):
    """All that was answered so far, in a list that grows."""

    @property
    def asked(self) -> Sequence[Answered]: ...


class AnsweredCpu:
    """Called, tells as `sysfs_power.machine_cpu_s` does.

    asking      whose answers count, once it is there
    s_per_flop  of chains, on one of the `cores`
    rest        share of them that is busy without any request
    """

    def __init__(self, space: ChainSpace, s_per_flop: float, rest: float = 0.1, cores: int = 2) -> None:
        self.asking: Answering | None = None
        self._space, self._s_per_flop, self._rest, self._cores = space, s_per_flop, rest, cores
        self._counted, self._flops = 0, 0.0

    def __call__(self) -> tuple[float, float]:
        answered = [] if self.asking is None else self.asking.asked
        new = answered[self._counted :]
        self._counted += len(new)
        self._flops += sum(self._space.get(one.chain).flops for one in new if one.chain is not None)  # type: ignore[union-attr]
        all_s = time.monotonic() * self._cores
        return self._rest * all_s + self._s_per_flop * self._flops, all_s


def write_profile(file: Path, spec: CascadeSpec, s_per_flop: float, cores: int = 2) -> None:
    """What `greenflow profile --json` would print on such a machine, metered by `sysfs_power`. Without it the energy
    model begins with what real processors take, and needs minutes to learn that these are others."""
    board = intel_two_sockets()
    core_w = sum(watts_of(meter, board, 1.0) - watts_of(meter, board, 0.0) for meter in board.true_meters) / cores
    joules = [
        {
            "stage": stage.name,
            "variant": variant.name,
            "call_j": variant.flops.row * s_per_flop * core_w,
            "item_j": variant.flops.item * s_per_flop * core_w,
            "typical_items": max(stage.items, default=1000),
            "quality": "measured",
        }
        for stage in spec.stages
        for variant in stage.variants
        if variant.flops is not None
    ]
    file.write_text(json.dumps({"watts_per_core": core_w, "joules": joules}))
