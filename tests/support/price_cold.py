"""A controller from its first window on, over simulated requests."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace
from allocator.constraints import flops_per_second, paced
from allocator.price.select import DEFAULT, strategy
from allocator.price.start import Start
from cluster.accounts import Window
from cluster.control import Control, ControlState

Floats = NDArray[np.float64]
Rows = NDArray[np.float32]
SAMPLE_ROWS = 128


@dataclass(frozen=True)
class Chains:
    """As much of a chain space as `Control` asks for."""

    flops: Floats

    def __len__(self) -> int:
        return len(self.flops)


@dataclass(frozen=True)
class Played:
    """Per window: spend over the limit (T,), and the states (T,) after it; the reward earned in all."""

    relative: Floats
    states: list[ControlState]
    reward: float
    spend: float


def control_of(cost: Floats, limit_per_s: float, start: Start | None = None, **rest: Any) -> Control:
    """The control of one limit, with windows of a second."""
    space = cast(ChainSpace, Chains(cost))
    chosen = strategy(rest.pop("name", DEFAULT))
    return Control(space, (flops_per_second(limit_per_s),), chosen, "reward.onnx", 0, start=start, **rest)


def play(control: Control, windows: Sequence[Rows], quota: float | None = None) -> Played:
    """A window's requests after another's, from `init` on. With a quota for all of them, each next limit is what is
    left of it, spread over the windows that are left; `relative` is by the first limit throughout."""
    state, limit = control.init(0.0), control.init(0.0).terms.limit[0]
    spend, reward, states = [], 0.0, []
    for t, rows in enumerate(windows):
        decided = state.policy.decide(rows)
        spend.append(float(decided.costs[:, 0].sum()))
        reward += float(decided.rewards.sum())
        if quota is not None:
            left = paced(quota, sum(spend), float(len(windows) - t - 1), 1.0)
            control = replace(control, constraints=(flops_per_second(left),))
        executed = np.bincount(decided.chains, minlength=len(control.space)).astype(float)
        state = control.step(state, Window(executed, float(len(rows)), rows[:SAMPLE_ROWS]), t + 1.0)
        states.append(state)
    return Played(np.array(spend) / limit, states, reward, sum(spend))
