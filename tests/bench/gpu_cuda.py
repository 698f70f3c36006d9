"""CUDA variants beside the same ones on the processors: what they answer, how long they take, where their nodes run."""

import json
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cluster.config import DEMO
from models.batch import RaggedBatch, UserRows
from models.checking import check_cascade
from models.features import UserQuery
from models.loading import Cascade, open_index
from models.retrieve import Recall
from models.score import Scorer
from models.session import Session
from models.spec import Device, Placement, StageSpec, VariantSpec, read_spec, write_spec

ROWS = (1, 8, 64)
SHARE = 0.3
WARM_UP, REPEATS = 3, 15
Found = dict[str, Any]
Loaded = Recall | Scorer


def cuda_copy(folder: Path, device: Device = Device.CUDA) -> Path:
    """A copy of the demo whose last stage runs on a GPU, each variant on a share of it, in its own deployment."""
    shutil.copytree(DEMO, folder)
    spec = read_spec(folder)
    *before, last = spec.stages
    moved = {"device": device, "placement": Placement.OWN, "gpus": SHARE}
    rank = last.model_copy(update={"variants": tuple(v.model_copy(update=moved) for v in last.variants)})
    write_spec(spec.model_copy(update={"stages": (*before, rank)}), folder)
    return folder


def cuda_part(found: Found, folder: Path) -> None:
    """The check of a cascade with CUDA variants, then every variant of the demo, one by one."""
    checked = check_cascade(folder)
    on_gpu = [v.name for stage in checked.spec.stages for v in stage.variants if v.device is Device.CUDA]
    found["checked"] = {"cascade": checked.spec.name, "on_cuda": on_gpu}
    cascade = Cascade.open(DEMO)
    rng = np.random.default_rng(0)
    for stage in cascade.spec.stages:
        for variant in stage.variants:
            name = f"{stage.name}/{variant.name}"
            try:
                found[name] = compared(cascade, stage, variant, rng, folder.parent)
            except Exception as error:  # one that CUDA cannot run leaves the others to look at
                found[name] = {"error": f"{type(error).__name__}: {error}"}
    if failed := [name for name, one in found.items() if isinstance(one, dict) and "error" in one]:
        raise RuntimeError(f"{', '.join(failed)}: see there")


def compared(cascade: Cascade, stage: StageSpec, variant: VariantSpec, rng: np.random.Generator, folder: Path) -> Found:
    """One variant on both device classes."""
    began_s = time.perf_counter()
    on_gpu = cascade.variant(stage, variant, Device.CUDA)
    opened_s = time.perf_counter() - began_s
    on_cpu = cascade.variant(stage, variant, Device.CPU)
    whole = cascade.variant(stage, variant.model_copy(update={"max_rows": ROWS[-1]}), Device.CUDA)
    users, batch = drawn(cascade, stage, rng, ROWS[-1], most_items(stage))
    first_s = spent_s(lambda: raw(whole, users, batch))
    timed = []
    for rows in ROWS:
        for items in stage.items or (0,):
            users, batch = drawn(cascade, stage, rng, rows, items)
            runs = {name: median_ms(v, users, batch) for name, v in (("cpu", on_cpu), ("cuda", on_gpu))}
            runs["cuda_at_once"] = median_ms(whole, users, batch)
            timed.append({"rows": rows, "items": items, **{f"{name}_ms": ms for name, ms in runs.items()}})
    users, batch = drawn(cascade, stage, rng, ROWS[-1], most_items(stage))
    return {
        "opened_s": opened_s,
        "first_run_s": first_s,
        **differences(raw(on_cpu, users, batch), raw(on_gpu, users, batch)),
        "same_order": same_order(cascade, stage, (on_cpu, on_gpu), users, batch),
        "nodes": nodes(cascade, stage, variant, users, batch, folder),
        "ms": timed,
    }


def most_items(stage: StageSpec) -> int:
    """The stage's greatest item number; 0 for recall."""
    return stage.items[-1] if stage.items else 0


def drawn(
    cascade: Cascade, stage: StageSpec, rng: np.random.Generator, rows: int, items: int
) -> tuple[UserRows, RaggedBatch | None]:
    """Users of the table and, but for recall, candidates for each."""
    ids = cascade.users.ids.ids(rng.integers(0, len(cascade.users.ids), rows))
    users = cascade.users.rows([UserQuery(user_id) for user_id in ids])
    if not stage.items:
        return users, None
    return users, RaggedBatch.from_rows([rng.choice(len(cascade.items), items, replace=False) for _ in range(rows)])


def raw(variant: Loaded, users: UserRows, batch: RaggedBatch | None) -> np.ndarray:
    """What the model itself answers: queries of recall, else scores."""
    if isinstance(variant, Recall):
        return variant.queries(users)
    assert batch is not None
    return variant.score(users, batch)


def differences(cpu: np.ndarray, cuda: np.ndarray) -> Found:
    """How far apart two answers are. Relative to the greater of the answer and a thousandth of the greatest one."""
    apart = np.abs(cpu - cuda)
    scale = np.maximum(np.abs(cpu), 1e-3 * np.abs(cpu).max())
    return {
        "values": int(cpu.size),
        "finite": bool(np.isfinite(cuda).all()),
        "most_apart": float(apart.max()),
        "most_apart_relative": float((apart / scale).max()),
        "greatest": float(np.abs(cpu).max()),
    }


def same_order(
    cascade: Cascade, stage: StageSpec, both: tuple[Loaded, Loaded], users: UserRows, batch: RaggedBatch | None
) -> float:
    """Share of the k places where both put the same item."""
    keep = np.full(len(users), cascade.spec.k)
    one, other = (variant.run(users, batch, keep).items for variant in both)
    return float(np.mean(one == other))


def spent_s(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began_s = time.perf_counter()
    work()
    return time.perf_counter() - began_s


def median_ms(variant: Loaded, users: UserRows, batch: RaggedBatch | None) -> float:
    """Median milliseconds of a run, after a few that do not count."""
    taken = [spent_s(lambda: raw(variant, users, batch)) for _ in range(WARM_UP + REPEATS)]
    return 1e3 * float(np.median(taken[WARM_UP:]))


def _around(session: Session, cascade: Cascade, stage: StageSpec, variant: VariantSpec) -> Loaded:
    if variant.index is None:
        return Scorer(session, cascade.items, variant.max_rows)
    return Recall(session, open_index(cascade.folder, variant, stage.name), variant.max_rows)


def nodes(
    cascade: Cascade, stage: StageSpec, variant: VariantSpec, users: UserRows, batch: RaggedBatch | None, folder: Path
) -> dict[str, int]:
    """Nodes of the graph by the provider that runs them: those that CUDA lacks fall to the processors."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / f"nodes-{variant.name}")
    options.log_severity_level = 3
    path = cascade.folder / variant.model.file
    session = ort.InferenceSession(str(path), options, providers=["CUDAExecutionProvider"])
    raw(_around(Session(session, path), cascade, stage, variant), users, batch)
    file = Path(session.end_profiling())
    events = json.loads(file.read_text())
    file.unlink()
    ran = {(e["args"]["provider"], e["name"]) for e in events if e.get("cat") == "Node" and "provider" in e["args"]}
    return dict(Counter(provider for provider, _ in ran))
