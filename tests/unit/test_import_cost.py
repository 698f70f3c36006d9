"""What every replica imports: nothing large that only a few of them use."""

import subprocess
import sys

import pytest

LATE = ("scipy", "aiohttp", "pynvml", "sklearn", "torch", "matplotlib")


@pytest.mark.parametrize("module", ["cluster.stages", "cluster.app"])
def test_a_replica_is_spared_libraries_that_solve_fetch_or_train(module: str) -> None:
    program = f"import {module}, sys; print(*(name for name in {LATE!r} if name in sys.modules))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == []
