"""The cascade that is trained: its stages, the size of every variant, and how long each is trained."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from models.spec import Placement
from models.training.fit import FitConfig
from models.training.interest import Dien, Din
from models.training.networks import Mlp, Shapes, Tower, YoutubeDnn


@dataclass(frozen=True)
class VariantRecipe:
    """One variant: how to build its network, how to train it, where it runs and with how many requests at a time.

    The last two are what `greenflow profile` recommends on two cores of an x86 server; it can set them anew.
    """

    stage: str
    name: str
    build: Callable[[Shapes], nn.Module]
    fit: FitConfig
    placement: Placement = Placement.INLINE
    max_rows: int = 64


RECALL_FIT = FitConfig(epochs=8, batch=512)
PRERANK_FIT = FitConfig(epochs=6, batch=128)
RANK_FIT = FitConfig(epochs=4, batch=256)

RECIPE: tuple[VariantRecipe, ...] = (
    VariantRecipe("recall", "tower-s", lambda s: Tower(s, dim=6, hidden=16, size=8, by_position=False), RECALL_FIT),
    VariantRecipe("recall", "tower-l", lambda s: Tower(s, dim=16, hidden=64, size=24, by_position=True), RECALL_FIT),
    VariantRecipe(
        "prerank", "ydnn-s", lambda s: YoutubeDnn(s, dim=4, hidden=16, size=8, by_position=False), PRERANK_FIT
    ),
    VariantRecipe(
        "prerank", "ydnn-l", lambda s: YoutubeDnn(s, dim=8, hidden=48, size=24, by_position=True), PRERANK_FIT
    ),
    VariantRecipe("rank", "mlp", lambda s: Mlp(s, dim=12, hidden=32), RANK_FIT),
    VariantRecipe("rank", "din", lambda s: Din(s, dim=12, hidden=32), RANK_FIT, Placement.OWN, max_rows=8),
    VariantRecipe("rank", "dien", lambda s: Dien(s, dim=16, hidden=32), RANK_FIT, Placement.OWN, max_rows=8),
)
K = 10
PRERANK_ITEMS = (50, 100, 200, 400)
RANK_ITEMS = (20, 40, 80, 160)
