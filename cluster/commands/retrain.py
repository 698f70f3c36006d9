"""Trains a candidate from the log: learn what the current model gets wrong, fit the network to it, judge it later."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from allocator.chains import ChainSpace
from allocator.choice import Mask
from allocator.importance import importance
from allocator.ope.evaluation import Evaluation, evaluate
from allocator.ope.targets import judged
from allocator.relearn.columns import OfContext, of_chains, ways_of
from allocator.relearn.correction import Correction, Design, Predict, Seen, drawn, learned
from allocator.reward import REWARD_FILE, RewardModel
from allocator.table import cascade_digest
from allocator.violations import stages_to_free, violations
from cluster.candidate import Candidate, check_place, write_candidate
from cluster.commands.retrain_asked import Asked, free_stages
from cluster.commands.retrain_contexts import LEAST_TRAINED, Contexts, alike, logged
from cluster.commands.retrain_current import check_apart, check_served, current_of
from cluster.commands.retrain_rows import Evidence, Reading, evidence
from cluster.commands.retrain_show import show
from models.batch import FloatArray
from models.checking import check_cascade, sha256_of
from models.errors import FixFile
from models.features import open_array
from models.loading import Cascade
from models.session import Session

if TYPE_CHECKING:
    from models.training.reward_fit import Examples, RewardFit
    from models.training.reward_net import Ensemble
    from models.training.reward_shape import ContextShape

VALIDATION = 0.15
DROPOUT, WEIGHT_DECAY = 0.1, 0.01
"""What is believed has no noise of its own, so the network is held back less than by a table of clicks."""
PREDICT_ROWS = 256
VERSIONED = ("greenflow", "torch", "numpy", "onnxruntime")


def retrain(asked: Asked, console: Console) -> Candidate:
    """Train a candidate, judge it, and write it to its folder; the cascade is left as it is."""
    check_place(asked.out)
    check_apart(asked)
    with console.status("reading the log"):
        cascade = check_cascade(asked.folder)
        space = ChainSpace(cascade.spec, len(cascade.items))
        replaced = current_of(asked, cascade, space)
        current = _predictor(replaced.model)
        found = evidence(asked.reading, cascade, space, _reader(asked.address))
        check_served(replaced, found.served, asked.reading.folder)
    with tempfile.TemporaryDirectory() as build, Progress(*_COLUMNS, console=console) as progress:
        model = Path(build) / REWARD_FILE
        correction = _learned(progress, found, cascade, space, current)
        free = _fitted(progress, asked, found, cascade, space, current, correction, model)
        evaluation = _judged(progress, asked, found, current, model)
        candidate = _described(asked, found, cascade, space, replaced.sha256, free, evaluation, model)
        write_candidate(asked.out, model, candidate)
    show(Console(), candidate, found)
    console.print(f"wrote {asked.out}; the cascade still has its own reward model", highlight=False, soft_wrap=True)
    return candidate


_COLUMNS = (TextColumn("{task.description:24}"), BarColumn(), TextColumn("{task.fields[note]:24}"), TimeElapsedColumn())


def _reader(address: str | None) -> Callable[[Reading], object]:
    if address is None:
        return Reading.read
    from cluster.log_over_ray import read_over_ray

    return lambda reading: read_over_ray(address, reading)


def _predictor(model: RewardModel) -> Predict:
    def predict(contexts: FloatArray) -> FloatArray:
        return np.concatenate(
            [model.predict(contexts[at : at + PREDICT_ROWS]) for at in range(0, len(contexts), PREDICT_ROWS)]
        )

    return predict


def _learned(progress: Progress, found: Evidence, cascade: Cascade, space: ChainSpace, current: Predict) -> Correction:
    some = logged(found.seen.contexts, np.random.default_rng(0))
    predicted = current(some)
    of_context = OfContext.of(context_shape(cascade), some, predicted)
    design = Design(of_context, of_chains(cascade.spec, space), ways_of(predicted))
    return learned(found.seen, design, current, _bar(progress, "what the log says"))


def _fitted(
    progress: Progress,
    asked: Asked,
    found: Evidence,
    cascade: Cascade,
    space: ChainSpace,
    current: Predict,
    correction: Correction,
    model: Path,
) -> tuple[str, ...]:
    """Fit the network to what is now believed, and write it; the stages left free of structure."""
    from models.training.reward_export import export_reward
    from models.training.reward_fit import Examples, RewardFit, fit_reward
    from models.training.reward_net import RewardNet
    from models.training.reward_shape import ChainShape

    rng = np.random.default_rng(asked.seed)
    contexts = alike(logged(found.seen.contexts, rng), cascade, rng)
    believed = correction.corrected(contexts.rows, current(contexts.rows))
    free = free_stages(cascade, asked.free, stages_to_free(violations(space, believed)))
    chains = ChainShape.of(cascade.spec, [[(a.variant, a.items) for a in chain.actions] for chain in space], free)
    shape, importances = context_shape(cascade), importance(believed, space.flops)
    validates = validated_by(contexts, rng, asked.reading.folder)
    train, valid = (Examples(contexts.rows[of], believed[of], importances) for of in (~validates, validates))
    config = RewardFit(seed=asked.seed, weight_decay=WEIGHT_DECAY)
    if asked.epochs is not None:
        config = replace(config, epochs=asked.epochs)
    make = lambda: RewardNet(shape, chains, DROPOUT)  # noqa: E731
    network = fit_reward(make, train, valid, config, _bar(progress, "reward model"))
    _fitted_again(network, found.seen, train, config, rng, _bar(progress, "what the log says, again"))
    export_reward(network, contexts.rows, model)
    return free


def _fitted_again(
    network: "Ensemble",
    seen: Seen,
    train: "Examples",
    config: "RewardFit",
    rng: np.random.Generator,
    progress: Callable[..., None],
) -> None:
    """Fit the network once more, to what logged requests earned themselves."""
    from models.training.reward_rows import Earned, fit_rows

    taken, weights = drawn(seen.weights, rng)
    some = seen.take(taken)
    fit_rows(network, Earned(some.contexts, some.chains, some.rewards, weights), train, config, progress)


def validated_by(contexts: Contexts, rng: np.random.Generator, log: Path) -> Mask:
    """(n,) whether to validate by a context. Raises FixFile where they are too few for that."""
    validates = contexts.split(VALIDATION, rng)
    if not validates.any():
        few = f"the log holds requests of too few different contexts: {len(np.unique(contexts.of))} with users on file"
        raise FixFile(log, "context", f"{few}; at least {LEAST_TRAINED + 1} are needed to train and to validate")
    return validates


def _bar(progress: Progress, about: str) -> Callable[..., None]:
    """A bar of its own, and how to tell it: a share, and what to say of it."""
    bar = progress.add_task(about, total=1.0, note="")
    return lambda share, note="": progress.update(bar, completed=share, note=note)


def _judged(progress: Progress, asked: Asked, found: Evidence, current: Predict, model: Path) -> Evaluation:
    candidate = _predictor(RewardModel(Session.open(model)))
    both = judged(found.scene, (current, candidate), _bar(progress, "judging it"))
    return evaluate(found.logged, both, asked.most_weight)


def context_shape(cascade: Cascade) -> "ContextShape":
    """What a reward network must know of the cascade's contexts."""
    from models.training.reward_shape import ContextShape

    items = open_array(cascade.folder, cascade.spec.tables.items.features, "tables.items.features", 2)
    return ContextShape.of(cascade.spec, items, cascade.users.history_length)


def _described(
    asked: Asked,
    found: Evidence,
    cascade: Cascade,
    space: ChainSpace,
    replaces: str,
    free: tuple[str, ...],
    evaluation: Evaluation,
    model: Path,
) -> Candidate:
    spec = cascade.spec
    return Candidate(
        sha256=sha256_of(model),
        cascade=spec.name,
        digest=cascade_digest(spec),
        chains=tuple(chain.id for chain in space),
        replaces=replaces,
        versions={name: _version(name) for name in VERSIONED},
        log=str(asked.reading.folder),
        trained=found.trained,
        held=found.held,
        horizon_s=found.horizon_s,
        seed=asked.seed,
        free_stages=free,
        evaluation=evaluation,
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
