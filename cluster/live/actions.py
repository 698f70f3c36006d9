"""The mix of chains by stage: what share of the requests took which action. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.chains import Action, ChainSpace
from allocator.choice import Floats

SKIPPED = "skip"


class Actions:
    """All different actions of a chain space, A of them, and which of them its chains take."""

    def __init__(self, space: ChainSpace) -> None:
        found = list(dict.fromkeys((at, action) for chain in space for at, action in enumerate(chain.actions)))
        place = {one: number for number, one in enumerate(found)}
        self._stage_of = np.array([at for at, _ in found], np.int64)
        self._actions = [action for _, action in found]
        self._stages = [action.stage for action in space.static.actions]
        self._taken: NDArray[np.int64] = np.array(
            [[place[at, action] for at, action in enumerate(chain.actions)] for chain in space], np.int64
        )

    def used(self, requests: Floats) -> Floats:
        """Requests by action, (A,), where `requests` ran each chain, (J,)."""
        weights = np.repeat(requests, self._taken.shape[1])
        taken = np.bincount(self._taken.ravel(), weights=weights, minlength=len(self._actions))
        return taken.astype(np.float64)

    def listed(self, used: Floats) -> list[dict[str, Any]]:
        """By stage the actions that were used, each with its share of the stage's requests, the largest first."""
        return [{"stage": name, "actions": self._of_stage(at, used)} for at, name in enumerate(self._stages)]

    def shares(self, used: Floats) -> dict[str, dict[str, float]]:
        """The same, shorter: by stage and `variant@items`."""
        return {
            one["stage"]: {_key(action["variant"], action["items"]): action["share"] for action in one["actions"]}
            for one in self.listed(used)
        }

    def _of_stage(self, stage: int, used: Floats) -> list[dict[str, Any]]:
        members = np.flatnonzero((self._stage_of == stage) & (used > 0))
        total = used[members].sum()
        order = members[np.argsort(-used[members], kind="stable")]
        return [_told(self._actions[at], float(used[at] / total)) for at in order.tolist()]


def _told(action: Action, share: float) -> dict[str, Any]:
    return {"variant": action.variant, "items": action.items, "share": share}


def _key(variant: str | None, items: int) -> str:
    return SKIPPED if variant is None else f"{variant}@{items}"
