"""A Recommender over inline variants, without Ray."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from cluster.cascade import CascadeExecutor, InlineRunner
from cluster.config import BatchSettings
from cluster.deciding import Allocation
from cluster.service import Recommender
from models.loading import Cascade

Name = tuple[str, str]


async def alive() -> str:
    """A probe that always answers."""
    return "ok"


def inline_runners(cascade: Cascade, threads: ThreadPoolExecutor) -> dict[Name, InlineRunner]:
    """A runner for each variant of the cascade."""
    return {
        (stage.name, variant.name): InlineRunner(cascade.variant(stage, variant), threads)
        for stage in cascade.spec.stages
        for variant in stage.variants
    }


@contextmanager
def open_recommender(
    folder: Path, batch: BatchSettings | None = None, allocation: Allocation | None = None
) -> Iterator[Recommender]:
    """A Recommender of that cascade with everything inside this process."""
    cascade = Cascade.open(folder)
    with ThreadPoolExecutor(2) as threads:
        runners = inline_runners(cascade, threads)
        probes = {f"{stage}/{variant}": alive for stage, variant in runners}
        executor = CascadeExecutor(runners)
        yield Recommender(cascade, executor, batch or BatchSettings(), probes, allocation=allocation)
