"""What chains are taken to earn before anybody has seen any of it."""

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace

STATIC_EDGE = 0.01


def first_guess(space: ChainSpace) -> NDArray[np.float32]:
    """Rewards (J,), the same of every request: more for more computation, and ever less more.

    By the logarithm of FLOPs, from 0 for the cheapest chain to 1 for the static one and what computes more; the static
    chain is better by STATIC_EDGE than all others, so that requests which nothing limits run what production would.
    """
    flops = np.maximum(space.flops, 1.0)
    span = np.log(flops[space.static.index] / flops.min())
    guess = np.clip(np.log(flops / flops.min()) / max(float(span), 1e-9), 0.0, 1.0)
    guess[space.static.index] += STATIC_EDGE
    return np.asarray(guess, dtype=np.float32)
