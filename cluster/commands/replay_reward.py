"""What `greenflow replay` counts: the truth of a synthetic world, what a click model expects, what a log holds."""

import hashlib
import importlib.util
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from rich.console import Console

from allocator.rewards import ExpectedClicks, Logged, ModelChance, RewardSource
from allocator.table import MANIFEST
from models.errors import FixFile, NeedsExtra
from models.loading import Cascade
from models.spec import FileRef

if TYPE_CHECKING:
    from models.training.click_report import ClickReport
    from models.worlds.kuairand import KuaiRand
    from models.worlds.synthetic import SyntheticTruth

REWARDS = ("expected", "clicks", "long-views", "shown")
CLICK_MODEL, CLICK_REPORT = "click-model.onnx", "click-model.json"


@dataclass(frozen=True)
class Asked:
    """The options of the command that decide what counts."""

    world: str
    reward: str
    data: Path | None
    click_model: Path | None
    world_seed: int
    world_days: int | None


@dataclass(frozen=True)
class Earns:
    """The world in words, the source of rewards, and a click model's SHA-256 and files to put beside the table."""

    world: str
    source: RewardSource
    click_model: str | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)


def what_it_earns(cascade: Cascade, asked: Asked, out: Path, console: Console) -> Earns:
    """The source that was asked for; fits a click model where KuaiRand needs one and `out` holds none yet.

    Raises click.UsageError for options that do not go together, FixFile for a cascade that was made otherwise than the
    world says, FixSetup without PyTorch where a model is to be fitted.
    """
    if asked.reward == "expected" and asked.click_model is not None:
        return _by_model(cascade, out, {CLICK_MODEL: _read(asked.click_model)})
    if asked.world == "synthetic":
        if asked.reward != "expected":
            raise click.UsageError(f"--reward {asked.reward} counts what KuaiRand's log holds: add --world kuairand")
        return _synthetic(cascade, asked.world_seed, asked.world_days)
    if asked.reward == "expected" and (out / MANIFEST).exists() and (out / CLICK_MODEL).exists():
        return _by_model(cascade, out, {CLICK_MODEL: _read(out / CLICK_MODEL)})
    if asked.data is None:
        raise click.UsageError("--world kuairand needs --data")
    if asked.reward == "expected":
        return _by_model(cascade, out, _fitted(cascade, asked.data, console))
    return _logged(cascade, asked.data, asked.reward)


def _by_model(cascade: Cascade, out: Path, files: Mapping[str, bytes]) -> Earns:
    digest = hashlib.sha256(files[CLICK_MODEL]).hexdigest()
    chance = ModelChance(cascade.folder.absolute(), out.absolute() / CLICK_MODEL)
    return Earns(cascade.spec.about, ExpectedClicks(chance, f"model {digest[:12]}"), digest, files)


def _synthetic(cascade: Cascade, seed: int, days: int | None) -> Earns:
    about, truth = synthetic_truth(cascade, seed, days)
    return Earns(about, ExpectedClicks(truth))


def synthetic_truth(cascade: Cascade, seed: int, days: int | None) -> "tuple[str, SyntheticTruth]":
    """The world that a cascade was made from, in words, and its truth. FixFile where it was made from another."""
    from models.worlds.simulate import synthetic_world
    from models.worlds.synthetic import SyntheticConfig

    given = {} if days is None else {"days": days}
    homogeneous = cascade.spec.name.startswith("homogeneous")
    sizes = {"users": len(cascade.users.ids), "items": len(cascade.items)}
    world, truth = synthetic_world(SyntheticConfig(seed=seed, homogeneous=homogeneous, **sizes, **given))
    problem = "not the histories of this synthetic world; give the --world-seed and --world-days it was made with"
    history = cascade.spec.tables.users.history
    _check_same(cascade, [(history, "tables.users.history", truth.history)], problem)
    return world.about, truth


def _logged(cascade: Cascade, data: Path, reward: str) -> Earns:
    from models.worlds.kuairand import read_kuairand

    read = read_kuairand(data)
    ids, log = read.world, read.logged
    users = cascade.users.ids.find(ids.users.ids[log.user].tolist())
    items = cascade.items.ids.find(ids.items.ids[log.item].tolist())
    known = (users >= 0) & (items >= 0)
    values = {"clicks": log.click, "long-views": log.long_view, "shown": np.ones(len(log.user))}[reward]
    kind = {"clicks": "clicks", "long-views": "long views", "shown": "exposures"}[reward] + " on the test days"
    source = Logged.of(kind, len(cascade.items), users[known], items[known], values[known])
    return Earns(cascade.spec.about, source)


def _fitted(cascade: Cascade, data: Path, console: Console) -> Mapping[str, bytes]:
    """A click model fitted to the data, and its report."""
    if importlib.util.find_spec("torch") is None or importlib.util.find_spec("onnxscript") is None:
        raise NeedsExtra("fitting a click model needs torch and onnxscript", "train")
    from models.training.click_model import fit_click_model
    from models.worlds.kuairand import read_kuairand

    read = read_kuairand(data)
    _check_made_from(cascade, read)
    with tempfile.TemporaryDirectory() as folder, console.status("fitting a click model") as status:
        path = Path(folder) / CLICK_MODEL
        report = fit_click_model(read, path, tell=lambda s, _: status.update(f"fitting a click model: {s:.0%}"))
        _tell(console, report)
        return {CLICK_MODEL: path.read_bytes(), CLICK_REPORT: (report.model_dump_json(indent=1) + "\n").encode()}


def _check_made_from(cascade: Cascade, read: "KuaiRand") -> None:
    """A cascade that was trained on other rows may have seen what the click model learns from."""
    users, items = cascade.spec.tables.users, cascade.spec.tables.items
    tables = [
        (users.features, "tables.users.features", read.world.users.features),
        (users.history, "tables.users.history", read.world.history),
        (items.features, "tables.items.features", read.world.items.features),
    ]
    _check_same(cascade, tables, "not what greenflow train kuairand makes of this data now; train the cascade again")


def _check_same(
    cascade: Cascade, tables: list[tuple[FileRef, str, "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"]], problem: str
) -> None:
    for reference, name, expected in tables:
        path = cascade.folder / reference.file
        if not np.array_equal(np.load(path), expected):
            raise FixFile(path, name, problem)


def _tell(console: Console, report: "ClickReport") -> None:
    held = report.judged[0]
    figures = f"AUC {held.auc:.4f} (within users {held.auc_within_users:.4f}), log-loss {held.log_loss:.4f}"
    line = f"{figures}, calibration error {held.calibration_error:.4f} on {held.exposures:,} exposures of unseen users"
    console.print(f"click model: {line}", highlight=False, soft_wrap=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FixFile(path, "", f"cannot be read: {error.strerror}") from None
