"""`greenflow replay`: runs every chain of a cascade for sampled users, and writes what each earns."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from allocator.table import Manifest, Rows, begin, write_part
from allocator.tabulate import Work, plan
from cluster.commands.replay_reward import REWARDS, Asked, what_it_earns
from cluster.config import DEMO, ray_address
from models.checking import check_cascade


@click.command("replay", context_settings={"show_default": True})
@click.option(
    "--cascade", "folder", type=click.Path(path_type=Path), default=DEMO, show_default="the demo", help="Its folder."
)
@click.option("--world", type=click.Choice(["synthetic", "kuairand"]), default="synthetic", help="Whose clicks count.")
@click.option("--data", type=click.Path(path_type=Path), help="KuaiRand-Pure's folder, for --world kuairand.")
@click.option(
    "--reward",
    type=click.Choice(REWARDS),
    default="expected",
    help="Expected clicks@k; or what KuaiRand's test days hold of the k items: clicks, long views, or how many of them "
    "were shown.",
)
@click.option(
    "--click-model",
    type=click.Path(path_type=Path),
    help="ONNX scorer of clicks to expect by.  [default: the synthetic world's truth; on KuaiRand one is fitted]",
)
@click.option("--users", type=click.IntRange(1), default=2000, help="How many users are sampled.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Draws the users.")
@click.option(
    "--world-seed", type=click.IntRange(0), default=0, help="The seed that the synthetic world was made with."
)
@click.option("--world-days", type=click.IntRange(3), help="The days it was made with.  [default: the demo's]")
@click.option(
    "--ray",
    "over_ray",
    is_flag=True,
    help="Work over the Ray cluster that runs on this machine; --cascade and --out lie at the same paths on all nodes.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the reward table.")
def command(
    folder: Path,
    world: str,
    data: Path | None,
    reward: str,
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

    Nobody knows who would click on what in KuaiRand. A click model is fitted to what the cascade was not trained on,
    and saved beside the table with a report of how good it is on users it never saw (needs PyTorch).

    \b
    Examples:
      greenflow replay --out out/table
      greenflow replay --cascade my-cascade --world kuairand --data KuaiRand-Pure/data --out out/table
      greenflow replay --cascade my-cascade --world kuairand --data KuaiRand-Pure/data --reward clicks --out out/clicks
    """
    console = Console(stderr=True)
    asked = Asked(world, reward, data, click_model, world_seed, world_days)
    with console.status("opening the cascade and the world"):
        cascade = check_cascade(folder)
        earns = what_it_earns(cascade, asked, out, console)
    manifest = plan(cascade, earns.source, earns.world, users, seed, earns.click_model)
    missing = begin(out, manifest, earns.beside)
    if len(missing) < manifest.parts:
        console.print(f"{manifest.parts - len(missing)} of {manifest.parts} parts are there already", highlight=False)
    address = ray_address() or ("auto" if over_ray else None)
    _fill(console, out, manifest, missing, _parts(address, Work(folder.absolute(), earns.source, manifest), missing))
    console.print(
        f"wrote {out}: {manifest.users:,} users, {len(manifest.chains)} chains, {manifest.reward}", soft_wrap=True
    )


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
