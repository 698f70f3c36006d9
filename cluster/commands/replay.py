"""`greenflow replay`: runs every chain of a cascade for sampled users, and writes what each earns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from allocator.rewards import ExpectedClicks, Logged, ModelChance, RewardSource
from allocator.table import Manifest, Rows, begin, write_part
from allocator.tabulate import Work, plan
from cluster.config import DEMO, ray_address
from models.checking import check_cascade
from models.errors import FixFile
from models.loading import Cascade


@click.command("replay", context_settings={"show_default": True})
@click.option(
    "--cascade", "folder", type=click.Path(path_type=Path), default=DEMO, show_default="the demo", help="Its folder."
)
@click.option("--world", type=click.Choice(["synthetic", "kuairand"]), default="synthetic", help="Whose clicks count.")
@click.option("--data", type=click.Path(path_type=Path), help="KuaiRand-Pure's folder, for --world kuairand.")
@click.option(
    "--reward",
    type=click.Choice(["truth", "model", "clicks", "long-views"]),
    help="Expected clicks@k under the synthetic truth or a click model; clicks or long views on KuaiRand's test days."
    "  [default: truth, for kuairand clicks]",
    show_default=False,
)
@click.option("--click-model", type=click.Path(path_type=Path), help="ONNX scorer of clicks, for --reward model.")
@click.option("--users", type=click.IntRange(1), default=2000, help="How many users are sampled.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Draws the users.")
@click.option(
    "--world-seed", type=click.IntRange(0), default=0, help="The seed that the synthetic world was made with."
)
@click.option("--world-days", type=click.IntRange(3), help="The days it was made with.  [default: the demo's]")
@click.option("--ray", "over_ray", is_flag=True, help="Work over the Ray cluster that runs on this machine.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the reward table.")
def command(
    folder: Path,
    world: str,
    data: Path | None,
    reward: str | None,
    click_model: Path | None,
    users: int,
    seed: int,
    world_seed: int,
    world_days: int | None,
    over_ray: bool,
    out: Path,
) -> None:
    """Run every chain for sampled users and write what each earns: the table that `greenflow train-reward` learns from.

    Chains share what they have in common, so that hundreds cost little more than the dearest one. Interrupted, it goes
    on where it stopped when it is called again in the same way. With RAY_ADDRESS set, or --ray, it works over Ray.

    \b
    Examples:
      greenflow replay --out out/table
      greenflow replay --cascade my-cascade --world kuairand --data KuaiRand-Pure/data --reward clicks --out out/table
    """
    console = Console(stderr=True)
    with console.status("opening the cascade and the world"):
        cascade = check_cascade(folder)
        reward = reward or ("truth" if world == "synthetic" else "clicks")
        name, source = _source(cascade, world, reward, data, click_model, world_seed, world_days)
    manifest = plan(cascade, source, name, users, seed)
    missing = begin(out, manifest)
    if len(missing) < manifest.parts:
        console.print(f"{manifest.parts - len(missing)} of {manifest.parts} parts are there already", highlight=False)
    address = ray_address() or ("auto" if over_ray else None)
    _fill(console, out, manifest, missing, _parts(address, Work(folder.absolute(), source, manifest), missing))
    console.print(f"wrote {out}: {manifest.users:,} users, {len(manifest.chains)} chains, {manifest.reward}")


def _parts(address: str | None, work: Work, missing: Sequence[int]) -> Iterator[tuple[int, Rows]]:
    if not missing:
        return
    if address is not None:
        from cluster.over_ray import fill

        yield from fill(address, work, missing)
        return
    worker = work.start()
    for number in missing:
        yield number, worker.part(number)


def _fill(
    console: Console, out: Path, manifest: Manifest, missing: Sequence[int], parts: Iterator[tuple[int, Rows]]
) -> None:
    columns = (TextColumn("users"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    done = manifest.users - sum(manifest.part(n).stop - manifest.part(n).start for n in missing)
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("users", total=manifest.users, completed=done)
            for number, rows in parts:
                write_part(out, manifest, number, rows)
                progress.advance(bar, len(rows))
    except KeyboardInterrupt:
        console.print(f"stopped; what is done stays in {out}: the same command goes on from there", highlight=False)
        raise


def _source(
    cascade: Cascade,
    world: str,
    reward: str,
    data: Path | None,
    click_model: Path | None,
    world_seed: int,
    world_days: int | None,
) -> tuple[str, RewardSource]:
    """The world in words, and the reward source."""
    if reward == "model":
        if click_model is None:
            raise click.UsageError("--reward model needs --click-model")
        chance = ModelChance(cascade.folder.absolute(), click_model.absolute())
        return cascade.spec.about, ExpectedClicks(chance, f"model {chance.digest[:12]}")
    if world == "synthetic":
        if reward != "truth":
            raise click.UsageError("the synthetic world knows its truth: --reward truth or model")
        return _synthetic(cascade, world_seed, world_days)
    if reward == "truth":
        raise click.UsageError("nobody knows KuaiRand's truth: --reward clicks, long-views or model")
    if data is None:
        raise click.UsageError("--world kuairand needs --data")
    return _kuairand(cascade, data, reward)


def _synthetic(cascade: Cascade, seed: int, days: int | None) -> tuple[str, RewardSource]:
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
    return world.about, ExpectedClicks(truth)


def _kuairand(cascade: Cascade, data: Path, reward: str) -> tuple[str, RewardSource]:
    from models.worlds.kuairand_kept import exposures_kept_back

    user_ids, video_ids, clicked, watched = exposures_kept_back(data)
    users = cascade.users.ids.find(user_ids.tolist())
    items = cascade.items.ids.find(video_ids.tolist())
    known = (users >= 0) & (items >= 0)
    kind, values = ("clicks on the test days", clicked)
    if reward == "long-views":
        kind, values = ("long views on the test days", watched)
    return cascade.spec.about, Logged.of(kind, len(cascade.items), users[known], items[known], values[known])
