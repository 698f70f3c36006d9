"""`greenflow train-reward`: trains a cascade's reward model on a reward table, and reports how good it is."""

import importlib.util
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from allocator.chains import ChainSpace
from allocator.choice import Rewards
from allocator.reward import REWARD_FILE, RewardModel, install
from allocator.reward_report import Judge, Quality, table_of
from allocator.table import Manifest, Rows, check_fits, held_out, read_table
from allocator.violations import Violations, stages_to_free, violations
from cluster.config import DEMO
from models.checking import check_cascade
from models.errors import FixFile, FixSetup
from models.features import open_array
from models.loading import Cascade

VALIDATION_SHARE = 0.15
LEAST_USERS = 20


class RewardReport(BaseModel):
    """What was trained on what, how good it is on held-out users, and what the table says of the assumptions."""

    model_config = ConfigDict(frozen=True)

    table: Manifest
    training_users: int
    held_out_users: int
    free_stages: tuple[str, ...]
    models: tuple[Quality, ...]
    violations: tuple[Violations, ...]


@dataclass(frozen=True)
class _Data:
    cascade: Cascade
    space: ChainSpace
    manifest: Manifest
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
@click.option("--table", type=click.Path(path_type=Path), required=True, help="Reward table of greenflow replay.")
@click.option("--free", multiple=True, help="A stage without structure, or `none`; repeatable.  [default: as found]")
@click.option("--seed", type=click.IntRange(0), default=0, help="The same seed gives the same model.")
@click.option("--epochs", type=click.IntRange(1, 10_000), help="At most so many.  [default: the fit's own]")
@click.option("--compare/--no-compare", default=True, help="Train the models to compare with, too.")
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="Where the report is saved as JSON.")
@click.option("--write/--no-write", default=True, help="Make it the cascade's reward model.")
def command(
    folder: Path,
    table: Path,
    free: tuple[str, ...],
    seed: int,
    epochs: int | None,
    compare: bool,
    report_file: Path | None,
    write: bool,
) -> None:
    """Train the reward model on the table's training users, and judge it on the held-out ones (needs PyTorch).

    Its rewards never fall, and gain ever less, with each item number of a stage. Where the table says otherwise of a
    stage, because its ranker is weaker than what comes before it, the stage is left free of that structure.

    \b
    Example:
      greenflow train-reward --cascade my-cascade --table out/table --report out/reward.json
    """
    _need_extras(compare)
    console = Console(stderr=True)
    with console.status("reading the table"):
        cascade = check_cascade(folder)
        data = _data(cascade, table, free, seed, epochs)
    with tempfile.TemporaryDirectory() as build:
        model = Path(build) / REWARD_FILE
        report = _train(console, data, model, compare)
        if write:
            reference = install(model, folder)
            RewardModel.open(folder, check_cascade(folder).spec, data.space)
    _print(Console(), report)
    path = report_file or table / "reward-report.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    console.print(f"saved {path}", highlight=False, soft_wrap=True)
    if write:
        console.print(f"wrote {folder / reference.file} into cascade.yaml", highlight=False, soft_wrap=True)


def _need_extras(compare: bool) -> None:
    needed = ("torch", "onnxscript", *(("sklearn",) if compare else ()))
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise FixSetup(f"training needs {' and '.join(missing)}: pip install 'greenflow[train]'")


def _data(cascade: Cascade, table: Path, free: tuple[str, ...], seed: int, epochs: int | None) -> _Data:
    space = ChainSpace(cascade.spec, len(cascade.items))
    manifest, rows = read_table(table)
    check_fits(manifest, cascade.spec, space, table)
    train, test = rows.only(~rows.held_out), rows.only(rows.held_out)
    validates = held_out(train.user_ids.tolist(), VALIDATION_SHARE, salt="validation ")
    if len(train) < LEAST_USERS or not len(test) or not validates.any():
        raise FixFile(table, "users", f"{len(rows)} users are too few to train on; run greenflow replay with more")
    names = [stage.name for stage in cascade.spec.stages]
    unknown = [name for name in free if name not in (*names, "none")]
    if unknown:
        raise click.UsageError(f"--free {unknown[0]}: the stages are {', '.join(names)}")
    chosen = [name for name in free if name != "none"] if free else stages_to_free(violations(space, train.rewards))
    parts = (train.only(~validates), train.only(validates), test)
    return _Data(cascade, space, manifest, *parts, tuple(chosen), seed, epochs)


def _train(console: Console, data: _Data, model: Path, compare: bool) -> RewardReport:
    from models.training.reward_fit import Examples, RewardFit, export_reward, fit_reward, predict
    from models.training.reward_net import PlainNet, RewardNet
    from models.training.reward_shape import ChainShape, ContextShape
    from models.training.reward_trees import predict_by_trees

    spec, features = data.cascade.spec, data.cascade.spec.tables.items.features
    table = open_array(data.cascade.folder, features, "tables.items.features", 2)
    context = ContextShape.of(spec, table, data.cascade.users.history_length)
    actions = [[(action.variant, action.items) for action in chain.actions] for chain in data.space]
    chains = ChainShape.of(spec, actions, data.free)
    examples, valid = (Examples(rows.contexts, rows.rewards) for rows in (data.train, data.valid))
    config = RewardFit(seed=data.seed) if data.epochs is None else RewardFit(seed=data.seed, epochs=data.epochs)
    predicted: dict[str, Rewards] = {}

    columns = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.fields[note]:24}"))
    with Progress(*columns, TimeElapsedColumn(), console=console) as progress:

        def run(name: str, work: Callable[[Callable[[float, str], None]], Any]) -> Any:
            bar = progress.add_task(name, total=1.0, note="")
            result = work(lambda share, note: progress.update(bar, completed=share, note=note))
            progress.update(bar, completed=1.0)
            return result

        def fitted(make: Callable[[], RewardNet | PlainNet]) -> Callable[[Callable[[float, str], None]], Any]:
            return lambda tell: fit_reward(make, examples, valid, config, tell)

        network = run("reward model", fitted(lambda: RewardNet(context, chains)))
        export_reward(network, data.test.contexts, model)
        predicted["reward model"] = predict(network, data.test.contexts)
        if compare:
            plain = run("without structure", fitted(lambda: PlainNet(context, chains)))
            predicted["without structure"] = predict(plain, data.test.contexts)
            learned = (data.train.contexts, data.train.rewards)
            trees = lambda _: predict_by_trees(context, chains, learned, data.test.contexts, data.seed)  # noqa: E731
            predicted["boosted trees"] = run("boosted trees", trees)
    predicted["mean per chain"] = data.train.rewards.mean(axis=0, keepdims=True).repeat(len(data.test), axis=0)
    return _report(data, predicted)


def _report(data: _Data, predicted: dict[str, Rewards]) -> RewardReport:
    dearest = float(data.space.flops[data.space.static.index])
    judge = Judge.of(data.test.rewards, data.train.rewards, data.space.flops, dearest, data.seed)
    return RewardReport(
        table=data.manifest,
        training_users=len(data.train) + len(data.valid),
        held_out_users=len(data.test),
        free_stages=data.free,
        models=tuple(judge.quality(name, rewards) for name, rewards in predicted.items()),
        violations=tuple(violations(data.space, data.train.rewards)),
    )


def _print(console: Console, report: RewardReport) -> None:
    headers = ("model", "R²", "R² within users", "rank corr.", "calibration", "regret", "gain over fixed")
    models = Table(*headers, box=box.SIMPLE_HEAD, title=f"{report.held_out_users:,} held-out users")
    for line in table_of(report.models):
        models.add_row(*line)
    console.print(models)
    budgets = Table("FLOPs", "fixed", "allocated", "oracle", "gain, 95%", box=box.SIMPLE_HEAD, title="reward by budget")
    for at in report.models[0].budgets:
        gain = f"{at.interval[0]:+.3f} to {at.interval[1]:+.3f}"
        budgets.add_row(f"{at.flops:,.0f}", f"{at.fixed:.3f}", f"{at.earned:.3f}", f"{at.oracle:.3f}", gain)
    console.print(budgets)
    titles = ("stage", "variant", "falls", "bends", "falls of the mean", "mean fall", "fall share", "worst")
    broken = Table(*titles, box=box.SIMPLE_HEAD, title="where more items do not earn more, or gain more and more")
    for one in report.violations:
        shares = (one.falls, one.bends, one.mean_falls)
        figures = (*(f"{share:.0%}" for share in shares), f"{one.mean_fall:.3f}", f"{one.fall_share:.0%}")
        broken.add_row(one.stage, f"[red]{one.variant}[/red]" if one.guilty else one.variant, *figures, one.worst)
    console.print(broken)
    freed = ", ".join(report.free_stages) or "none"
    console.print(f"stages left free of structure: {freed}", highlight=False)
