"""`greenflow replay-past`: runs every chain for requests of a synthetic world's log, as more to learn from."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from allocator.past import PastWorker, Requests, plan_past
from allocator.rewards import ExpectedClicks
from allocator.table import begin, write_part
from cluster.config import DEMO
from models.batch import UserRows
from models.checking import check_cascade
from models.errors import FixFile
from models.loading import Cascade

if TYPE_CHECKING:
    from models.worlds.base import World
    from models.worlds.synthetic import SyntheticTruth


@click.command("replay-past", context_settings={"show_default": True})
@click.option(
    "--cascade", "folder", type=click.Path(path_type=Path), default=DEMO, show_default="the demo", help="Its folder."
)
@click.option("--requests", type=click.IntRange(1), default=20_000, help="How many requests are sampled.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Draws the requests.")
@click.option(
    "--world-seed", type=click.IntRange(0), default=0, help="The seed that the synthetic world was made with."
)
@click.option("--world-days", type=click.IntRange(3), help="The days it was made with.  [default: the demo's]")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the reward table.")
def command(folder: Path, requests: int, seed: int, world_seed: int, world_days: int | None, out: Path) -> None:
    """Run every chain for past requests of training users and write what each would have earned at that time.

    A user is another one after every click, so the log holds many times more contexts than there are users: give the
    table to `greenflow train-reward --more`. Only a synthetic world knows what its users would have clicked on then.
    Interrupted, it goes on where it stopped when it is called again in the same way.

    \b
    Example:
      greenflow replay-past --out out/past
      greenflow train-reward --table out/table --more out/past
    """
    console = Console(stderr=True)
    with console.status("opening the cascade and the world"):
        cascade = check_cascade(folder)
        world, truth = _world(cascade, world_seed, world_days)
        past = _requests(cascade, world, truth)
    manifest = plan_past(cascade, past, world.about, requests, seed)
    missing = begin(out, manifest)
    worker = PastWorker(cascade, past, manifest)
    columns = (TextColumn("requests"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    done = manifest.users - sum(manifest.part(n).stop - manifest.part(n).start for n in missing)
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("requests", total=manifest.users, completed=done)
        for number in missing:
            rows = worker.part(number)
            write_part(out, manifest, number, rows)
            progress.advance(bar, len(rows))
    console.print(f"wrote {out}: {manifest.users:,} requests, {len(manifest.chains)} chains", highlight=False)


def _world(cascade: Cascade, seed: int, days: int | None) -> "tuple[World, SyntheticTruth]":
    from models.worlds.simulate import synthetic_world
    from models.worlds.synthetic import SyntheticConfig

    given = {} if days is None else {"days": days}
    homogeneous = cascade.spec.name.startswith("homogeneous")
    sizes = {"users": len(cascade.users.ids), "items": len(cascade.items)}
    world, truth = synthetic_world(SyntheticConfig(seed=seed, homogeneous=homogeneous, **sizes, **given))
    history = cascade.folder / cascade.spec.tables.users.history.file
    if not np.array_equal(np.load(history), truth.history):
        problem = "not the histories of this synthetic world; give the --world-seed and --world-days it was made with"
        raise FixFile(history, "tables.users.history", problem)
    return world, truth


def _requests(cascade: Cascade, world: "World", truth: "SyntheticTruth") -> Requests:
    from models.worlds.then import TruthThen

    log = world.train
    users = UserRows(log.user.astype(np.int64), log.history.astype(np.int64))
    ids = np.array(cascade.users.ids.ids(log.user_row.astype(np.int64)))
    return Requests(ids, users, ExpectedClicks(TruthThen(truth, log)))
