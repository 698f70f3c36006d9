"""Trains every variant of a world and writes a complete cascade folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import nn

from models.flops import count_flops
from models.spec import CascadeSpec, FlopsSpec, StageSpec, TablesSpec, VariantSpec, write_spec
from models.training.batches import codes
from models.training.export import export
from models.training.fit import Progress, fit_recall, fit_scorer, prepare
from models.training.folder import file_ref, new_folder, save_array, write_tables
from models.training.measure import exposure_auc, kept_at, recall_at
from models.training.networks import Shapes, Tower
from models.training.recipe import PRERANK_ITEMS, RANK_ITEMS, RECIPE, K, VariantRecipe
from models.worlds.base import World

RECALL_NUMBERS = (50, 100, 200, 400)
KEPT_NUMBERS = (50, 100, 200)
Tell = Callable[[str, float, str], None]
"""Progress: the variant's name, the share that is done, the best validation metric so far."""


@dataclass(frozen=True)
class TrainConfig:
    """What a caller may choose: the seed, and the epochs of every variant in place of its recipe's."""

    seed: int = 0
    epochs: int | None = None


def train_cascade(
    world: World,
    out: Path,
    config: TrainConfig,
    tell: Tell = lambda *_: None,
    recipe: Sequence[VariantRecipe] = RECIPE,
    force: bool = False,
) -> CascadeSpec:
    """Train the recipe's variants on a world and write the cascade to `out`, whole or not at all.

    The folder is built next to `out` and renamed at the end. Raises FixFile when `out` holds something that
    is not a cascade and `force` is not set, GreenFlowError when an exported model disagrees with its network.
    """
    with new_folder(out, force) as folder:
        tables = write_tables(world, folder)
        variants = _Trainer(world, folder, config, tell).train(recipe)
        spec = _spec(world, tables, variants)
        write_spec(spec, folder)
    return spec


class _Trainer:
    """Trains, exports and measures one variant after the other; scorers are measured behind the last tower."""

    def __init__(self, world: World, folder: Path, config: TrainConfig, tell: Tell) -> None:
        self._world, self._folder, self._config, self._tell = world, folder, config, tell
        self._shapes = Shapes.of(world)
        self._tower: Tower | None = None

    def train(self, recipe: Sequence[VariantRecipe]) -> dict[str, list[VariantSpec]]:
        stages: dict[str, list[VariantSpec]] = {}
        for variant in recipe:
            stages.setdefault(variant.stage, []).append(self._variant(variant))
        return stages

    def _variant(self, recipe: VariantRecipe) -> VariantSpec:
        rng = prepare(self._config.seed, recipe.name)
        network = recipe.build(self._shapes)
        fit = recipe.fit if self._config.epochs is None else recipe.fit.lasting(self._config.epochs)
        tell: Progress = lambda share, note: self._tell(recipe.name, share, note)  # noqa: E731
        if isinstance(network, Tower):
            fit_recall(network, self._world, fit, rng, tell)
            self._tower = network
        else:
            fit_scorer(network, self._world, fit, rng, tell)
        path = self._folder / recipe.stage / f"{recipe.name}.onnx"
        path.parent.mkdir(exist_ok=True)
        export(network, self._shapes, path, rng)
        return self._describe(recipe, network, path)

    def _describe(self, recipe: VariantRecipe, network: nn.Module, path: Path) -> VariantSpec:
        flops, index = count_flops(path), None
        per_item = flops.item
        if isinstance(network, Tower):
            vectors = network.vectors(codes(self._world.items.features)).detach().numpy()
            index = save_array(self._folder, f"{recipe.stage}/{recipe.name}.npy", vectors.astype(np.float32))
            per_item = 2 * vectors.shape[1]
        return VariantSpec(
            name=recipe.name,
            model=file_ref(self._folder, path),
            index=index,
            placement=recipe.placement,
            max_rows=recipe.max_rows,
            flops=FlopsSpec(row=flops.row, item=per_item),
            metrics={name: round(value, 4) for name, value in self._metrics(network).items()},
        )

    def _metrics(self, network: nn.Module) -> dict[str, float]:
        """Quality on the test days."""
        test, items = self._world.test, len(self._world.items.ids)
        if isinstance(network, Tower):
            return recall_at(network, test, [n for n in RECALL_NUMBERS if n <= items])
        metrics = {"auc": exposure_auc(network, test)}
        if self._tower is not None:
            metrics |= kept_at(network, self._tower, test, [n for n in KEPT_NUMBERS if n <= items])
        return metrics


def _spec(world: World, tables: TablesSpec, variants: dict[str, list[VariantSpec]]) -> CascadeSpec:
    numbers = {"recall": (), "prerank": PRERANK_ITEMS, "rank": RANK_ITEMS}
    stages = []
    for stage, part in variants.items():
        items = tuple(n for n in numbers[stage] if n <= len(world.items.ids))
        stages.append(StageSpec(name=stage, items=items, skippable=stage == "rank", variants=tuple(part)))
    return CascadeSpec(
        format=1,
        name=world.name,
        k=K,
        about=world.about,
        tables=tables,
        stages=tuple(stages),
        static_chain=">".join(_largest(stage) for stage in stages),
    )


def _largest(stage: StageSpec) -> str:
    """The action of the stage's last variant on its greatest item number: what runs without GreenFlow."""
    name = stage.variants[-1].name
    return f"{name}@{stage.items[-1]}" if stage.items else name
