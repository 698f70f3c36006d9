"""`greenflow train-reward`: trains a cascade's reward model on a reward table, or from the log of what was served."""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from allocator.chains import ChainSpace
from allocator.choice import Rewards
from allocator.importance import importance
from allocator.past import joined
from allocator.reward import REWARD_FILE, RewardModel, install
from allocator.reward_report import Judge
from allocator.table import Manifest, Rows, check_fits, held_out, read_table
from allocator.violations import stages_to_free, violations
from cluster.commands.retrain_asked import asked_of, free_stages, log_options
from cluster.commands.reward_report import RewardReport, show
from cluster.config import DEMO
from models.checking import check_cascade
from models.errors import FixFile, NeedsExtra
from models.features import open_array
from models.loading import Cascade

if TYPE_CHECKING:
    from models.training.reward_shape import ChainShape, ContextShape

VALIDATION_SHARE = 0.15
LEAST_USERS = 20


@dataclass(frozen=True)
class _Data:
    cascade: Cascade
    space: ChainSpace
    manifest: Manifest
    more: tuple[Manifest, ...]
    users: Rows
    train: Rows
    valid: Rows
    test: Rows
    free: tuple[str, ...]
    seed: int
    epochs: int | None


@click.command("train-reward", context_settings={"show_default": True})
@click.option(
    "--cascade", "folder", type=click.Path(path_type=Path), default=DEMO, show_default="the demo", help="Its folder."
)
@click.option("--table", type=click.Path(path_type=Path), help="Reward table of greenflow replay.")
@log_options
@click.option("--first", is_flag=True, help="Instead of a table or a log: a guess, to begin logging with.")
@click.option("--more", type=click.Path(path_type=Path), multiple=True, help="Table of replay-past; repeatable.")
@click.option("--free", multiple=True, help="A stage without structure, or `none`; repeatable.  [default: as found]")
@click.option("--seed", type=click.IntRange(0), default=0, help="The same seed gives the same model.")
@click.option("--epochs", type=click.IntRange(1, 10_000), help="Most passes over the data.  [default: the fit's own]")
@click.option("--compare/--no-compare", default=True, help="Train the models to compare with, too.")
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="Where the report is saved as JSON.")
@click.option("--write/--no-write", default=True, help="Make it the cascade's reward model, in place of the one it has;"
              " without --cascade that is the shipped demo's.")  # fmt: skip
def command(
    folder: Path,
    table: Path | None,
    first: bool,
    more: tuple[Path, ...],
    free: tuple[str, ...],
    seed: int,
    epochs: int | None,
    compare: bool,
    report_file: Path | None,
    write: bool,
    **of_log: Any,
) -> None:
    """Train the reward model on the table's training users, and judge it on the held-out ones (needs PyTorch).

    Its rewards never fall, and gain ever less, with each item number of a stage. Where the table says otherwise of a
    stage, because its ranker is weaker than what comes before it, the stage is left free of that structure.

    With --log instead of --table, a candidate is trained from what the cascade served and earned: what the current
    model gets wrong is learned from all but the newest fifth of the requests, and both are judged on that fifth. The
    current model is the one that served: the cascade's own, or what --current names, where another was promoted. The
    cascade is left as it is.

    With --first nothing is trained: a cascade that has no reward model gets one that guesses, the same of every
    request, so that a policy can choose and explore and there is something to log (needs no PyTorch).

    \b
    Examples:
      greenflow train-reward --cascade my-cascade --table out/table --report out/reward.json
      greenflow train-reward --table out/table --more out/past --no-write
      greenflow train-reward --cascade my-cascade --first
      greenflow train-reward --cascade my-cascade --log /var/lib/greenflow/log --out out/candidate
      greenflow train-reward --cascade my-cascade --log /var/lib/greenflow/log --current out/candidate --out out/next
    """
    console = Console(stderr=True)
    asked = asked_of(folder, free, seed, epochs, **of_log)
    if [asked is not None, table is not None, first].count(True) != 1:
        raise click.UsageError("name one of --table, --log and --first")
    if first:
        from cluster.commands.first_reward import first_reward

        first_reward(console, folder)
    elif asked is not None:
        _need_extras(compare=False)
        from cluster.commands.retrain import retrain

        retrain(asked, console)
    elif table is not None:
        _need_extras(compare)
        _on_table(console, folder, table, more, (free, seed, epochs, compare, report_file, write))


def _on_table(
    console: Console,
    folder: Path,
    table: Path,
    more: tuple[Path, ...],
    options: tuple[tuple[str, ...], int, int | None, bool, Path | None, bool],
) -> None:
    free, seed, epochs, compare, report_file, write = options
    with console.status("reading the table"):
        cascade = check_cascade(folder)
        data = _data(cascade, table, more, free, seed, epochs)
    with tempfile.TemporaryDirectory() as build:
        model = Path(build) / REWARD_FILE
        report = _train(console, data, model, compare)
        if write:
            reference = install(model, folder)
            RewardModel.open(folder, check_cascade(folder).spec, data.space)
    show(Console(), report)
    path = report_file or table / "reward-report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    console.print(f"saved {path}", highlight=False, soft_wrap=True)
    if write:
        console.print(f"wrote {folder / reference.file} into cascade.yaml", highlight=False, soft_wrap=True)


def _need_extras(compare: bool) -> None:
    needed = ("torch", *(("sklearn",) if compare else ()))
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise NeedsExtra(f"training needs {' and '.join(missing)}", "train")


def _data(
    cascade: Cascade, table: Path, more: tuple[Path, ...], free: tuple[str, ...], seed: int, epochs: int | None
) -> _Data:
    space = ChainSpace(cascade.spec, len(cascade.items))
    manifest, rows = read_table(table)
    check_fits(manifest, cascade.spec, space, table)
    users, test = rows.only(~rows.held_out), rows.only(rows.held_out)
    validates = _validates(users)
    if len(users) < LEAST_USERS or not len(test) or not validates.any():
        raise FixFile(table, "users", f"{len(rows)} users are too few to train on; run greenflow replay with more")
    manifests, parts = [], [users.only(~validates)]
    for folder in more:
        read, extra = read_table(folder)
        check_fits(read, cascade.spec, space, folder)
        manifests.append(read)
        parts.append(extra.only(~held_out(extra.user_ids.tolist()) & ~_validates(extra)))
    chosen = free_stages(cascade, free, stages_to_free(violations(space, users.rewards)))
    split = (users, joined(parts), users.only(validates), test)
    return _Data(cascade, space, manifest, tuple(manifests), *split, chosen, seed, epochs)


def _validates(rows: Rows) -> NDArray[np.bool_]:
    return held_out(rows.user_ids.tolist(), VALIDATION_SHARE, salt="validation ")


def _train(console: Console, data: _Data, model: Path, compare: bool) -> RewardReport:
    """Train the model into a file, and where asked the ones to compare with; judge them all."""
    from models.training.reward_export import export_reward
    from models.training.reward_fit import Examples, Member, RewardFit, fit_reward, predict
    from models.training.reward_net import PlainNet, RewardNet
    from models.training.reward_trees import predict_by_trees

    context, chains = _shapes(data)
    weights = importance(data.users.rewards, data.space.flops)
    train, valid = (Examples(rows.contexts, rows.rewards, weights) for rows in (data.train, data.valid))
    config = RewardFit(seed=data.seed) if data.epochs is None else RewardFit(seed=data.seed, epochs=data.epochs)
    wanted, predicted = data.test.contexts, dict[str, Rewards]()
    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.fields[note]:24}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:

        def fitted(name: str, make: Callable[[], Member]) -> Any:
            bar = progress.add_task(name, total=1.0, note="")
            network = fit_reward(
                make, train, valid, config, lambda s, note: progress.update(bar, completed=s, note=note)
            )
            predicted[name] = predict(network, wanted)
            return network

        export_reward(fitted("reward model", lambda: RewardNet(context, chains)), wanted, model)
        if compare:
            fitted("without structure", lambda: PlainNet(context, chains))
            bar = progress.add_task("boosted trees", total=1.0, note="")
            learned = (train.contexts, train.rewards)
            predicted["boosted trees"] = predict_by_trees(context, learned, wanted, data.seed)
            progress.update(bar, completed=1.0)
    predicted["mean per chain"] = data.users.rewards.mean(axis=0, keepdims=True).repeat(len(wanted), axis=0)
    return _report(data, predicted)


def _shapes(data: _Data) -> "tuple[ContextShape, ChainShape]":
    from models.training.reward_shape import ChainShape, ContextShape

    spec = data.cascade.spec
    items = open_array(data.cascade.folder, spec.tables.items.features, "tables.items.features", 2)
    context = ContextShape.of(spec, items, data.cascade.users.history_length)
    actions = [[(action.variant, action.items) for action in chain.actions] for chain in data.space]
    return context, ChainShape.of(spec, actions, data.free)


def _report(data: _Data, predicted: dict[str, Rewards]) -> RewardReport:
    dearest = float(data.space.flops[data.space.static.index])
    judge = Judge.of(data.test.rewards, data.users.rewards, data.space.flops, dearest, data.seed)
    return RewardReport(
        table=data.manifest,
        more=data.more,
        training_users=len(data.users),
        training_contexts=len(data.train) + len(data.valid),
        held_out_users=len(data.test),
        free_stages=data.free,
        models=tuple(judge.quality(name, rewards) for name, rewards in predicted.items()),
        violations=tuple(violations(data.space, data.users.rewards)),
    )
