"""A chain space without models, and rewards of users on it whose optimum is worth finding."""

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace
from models.spec import CascadeSpec

REF = {"file": "f", "sha256": "0" * 64}
TABLE = {"ids": REF, "features": REF, "columns": [{"name": "c", "codes": 2}]}


def space_of(
    pre_rank: list[int], rank: list[int], static: str, skippable: bool = False, looks_at: int | None = None
) -> ChainSpace:
    """One recall variant, two pre-rank and two rank variants, the second of each the dearer one.

    looks_at  items that recall compares with, by an approximate index; None for an exact one
    """
    approximate = {"approximate": {"graph": REF, "expansion": 9, "distances": looks_at, "recall_at_n": {1: 0.9}}}
    recall = {"index": REF} | (approximate if looks_at is not None else {})
    numbers = [[], pre_rank, rank]
    stages = [
        {
            "name": f"s{at}",
            "items": numbers[at],
            "skippable": skippable and at == 1,
            "variants": [
                {"name": f"v{at}-{n}", "model": REF, "flops": {"row": 1000 * at + n, "item": 10 * at + 20 * n + 1}}
                | ({} if at else recall)
                for n in range(2 if at else 1)
            ],
        }
        for at in range(3)
    ]
    tables = {"users": {**TABLE, "history": REF, "cold": [0]}, "items": TABLE}
    document = {"format": 1, "name": "c", "k": 5, "tables": tables, "stages": stages, "static_chain": static}
    return ChainSpace(CascadeSpec.model_validate(document), catalogue_items=1000)


SPACE = space_of([25, 50, 100, 200], [10, 20, 40, 80], "v0-0>v1-1@200>v2-1@80")


def concave_rewards(users: int, seed: int) -> NDArray[np.float64]:
    """Rewards (users, J) of SPACE: saturating in both item numbers, better for second variants, users of own value."""
    rng = np.random.default_rng(seed)
    value, slow = rng.lognormal(0, 0.8, users), rng.lognormal(3.5, 0.5, (users, 2))
    columns = []
    for chain in SPACE:
        quality = 1.0
        reward = np.ones(users)
        for stage, action in enumerate(chain.actions[1:]):
            quality *= 1.0 if str(action.variant).endswith("1") else 0.85
            reward *= 1 - np.exp(-action.items / slow[:, stage])
        columns.append(value * quality * reward)
    return np.stack(columns, axis=1)
