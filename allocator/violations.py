"""How often and how much a reward table breaks the assumption that more items earn more, and ever less so."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from allocator.chains import ChainSpace
from allocator.choice import Floats, Ints, Rewards

FALL_SHARE = 0.1
"""A stage whose mean reward falls by more than this share of all its movement is better left free of structure."""
TOLERANCE = 1e-6


class Violations(BaseModel):
    """A variant and its item numbers, all else in the chain equal. A step is from one number to the next larger one.

    Per user, chance makes many steps fall; `mean_*` look at the mean over all users, where only the models do.

    falls, fall            share of (user, step) where the reward falls, and the mean size of such a fall
    bends                  share of (user, two steps) where the gain per item grows
    mean_falls, mean_fall  the same of the users' mean: share of steps, mean size of the falls
    mean_bends             share of two steps
    fall_share             sum of the mean's falls / sum of its falls and rises: 0 when assumed rightly, 1 when never
    worst                  the chain after the greatest fall of the mean, "" where there is none
    """

    model_config = ConfigDict(frozen=True)

    stage: str
    variant: str
    steps: int
    falls: float
    fall: float
    bends: float
    mean_falls: float
    mean_fall: float
    mean_bends: float
    fall_share: float
    worst: str

    @property
    def guilty(self) -> bool:
        """Whether structure would misjudge this variant."""
        return self.fall_share > FALL_SHARE


def violations(space: ChainSpace, rewards: Rewards) -> list[Violations]:
    """Of every variant that has more than one item number, in the cascade's order; rewards (N, J)."""
    found = []
    for (stage, variant), ladders in _ladders(space).items():
        if any(len(ladder) > 1 for ladder in ladders):
            found.append(_measure(space, stage, variant, ladders, rewards.astype(np.float64)))
    return found


def stages_to_free(found: Sequence[Violations]) -> list[str]:
    """The stages with a guilty variant, in order."""
    return list(dict.fromkeys(one.stage for one in found if one.guilty))


def _ladders(space: ChainSpace) -> dict[tuple[str, str], list[Ints]]:
    """By (stage, variant): groups of chains that differ in that stage's number alone, by ascending number."""
    groups: dict[tuple[int, str, str], dict[tuple[str, ...], list[tuple[int, int]]]] = defaultdict(dict)
    for chain in space:
        for at, action in enumerate(chain.actions):
            if action.variant is not None and not action.recalls:
                rest = tuple(a.id for n, a in enumerate(chain.actions) if n != at)
                groups[at, action.stage, action.variant].setdefault(rest, []).append((action.items, chain.index))
    ordered = sorted(groups.items(), key=lambda group: group[0][0])
    return {
        (stage, variant): [np.array([index for _, index in sorted(ladder)]) for ladder in ladders.values()]
        for (_, stage, variant), ladders in ordered
    }


def _measure(space: ChainSpace, stage: str, variant: str, ladders: Sequence[Ints], rewards: Floats) -> Violations:
    mean = rewards.mean(axis=0, keepdims=True)
    steps = np.concatenate([np.diff(rewards[:, ladder], axis=1) for ladder in ladders], axis=1)
    mean_steps = np.concatenate([np.diff(mean[:, ladder], axis=1) for ladder in ladders], axis=1)[0]
    after = np.concatenate([ladder[1:] for ladder in ladders])
    fallen, lost = steps < -TOLERANCE, np.maximum(-mean_steps, 0.0)
    moved = float(np.abs(mean_steps).sum())
    return Violations(
        stage=stage,
        variant=variant,
        steps=len(mean_steps),
        falls=float(fallen.mean()),
        fall=float(-steps[fallen].mean()) if fallen.any() else 0.0,
        bends=_share(list(_bends(space, stage, ladders, rewards))),
        mean_falls=float((mean_steps < -TOLERANCE).mean()),
        mean_fall=float(lost[lost > TOLERANCE].mean()) if (lost > TOLERANCE).any() else 0.0,
        mean_bends=_share(list(_bends(space, stage, ladders, mean))),
        fall_share=float(lost.sum()) / moved if moved > 0 else 0.0,
        worst=space.chains[after[lost.argmax()]].id if lost.max(initial=0.0) > TOLERANCE else "",
    )


def _bends(space: ChainSpace, stage: str, ladders: Sequence[Ints], rewards: Floats) -> Iterator[Floats]:
    for ladder in ladders:
        if len(ladder) > 2:
            numbers = [next(a.items for a in space.chains[chain].actions if a.stage == stage) for chain in ladder]
            slopes = np.diff(rewards[:, ladder], axis=1) / np.diff(numbers)
            yield (np.diff(slopes, axis=1) > TOLERANCE).astype(np.float64)


def _share(parts: list[Floats]) -> float:
    return float(np.concatenate([part.ravel() for part in parts]).mean()) if parts else 0.0
