"""Chains that others outdo. They may be left out, as chains that are not available, to save work; nothing needs it."""

import numpy as np

from allocator.choice import Floats, Ints, Mask, Rewards


def dominated(rewards: Rewards, costs: Floats) -> Mask:
    """Which chains are outdone by another one, (J,).

    Chain i outdoes chain j when it earns no less in every row of `rewards` (N, J) and costs no more of any resource,
    costs (J, M); of two that are alike in all of that, the first outdoes the second.

    What it is good for depends on the rows:
    - all rows that will be decided: i has no smaller reward minus price times cost than j for any of them, at any
      prices >= 0. Leaving j out then lowers no request's best, and no bound; only a request that is indifferent may
      choose otherwise.
    - one row of mean rewards: j is never the best single chain for everybody, but it may be the best for a user whose
      rewards differ from the mean, and leaving it out may cost what personal allocation is for: on KuaiRand-Pure
      nearly all chains are dominated so, none for every user, and without them most of an oracle's gain is lost.
    - rows of a sample: in between; other users may differ.
    """
    order = np.lexsort((np.arange(rewards.shape[1]), -rewards.sum(axis=0, dtype=np.float64), costs.sum(axis=1)))
    kept: list[int] = []
    for chain in order:
        if not _outdone(int(chain), np.array(kept, dtype=np.int64), rewards, costs):
            kept.append(int(chain))
    found = np.ones(rewards.shape[1], dtype=bool)
    found[kept] = False
    return found


def _outdone(chain: int, others: Ints, rewards: Rewards, costs: Floats) -> bool:
    others = others[(costs[others] <= costs[chain]).all(axis=1)]
    for row in rewards:
        if not len(others):
            return False
        others = others[row[others] >= row[chain]]
    return bool(len(others))
