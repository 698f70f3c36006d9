"""Gradient-boosted trees as a reward model: one row per user and chain. To compare with; never served."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.reward_shape import ChainShape, ContextShape

NEWEST = 3
MOST_ROWS = 150_000
Array = NDArray[Any]


def predict_by_trees(
    context: ContextShape, chains: ChainShape, train: tuple[Array, Array], held_out: Array, seed: int = 0
) -> NDArray[np.float32]:
    """Fit on (contexts (n, Fc), rewards (n, J)) and predict for contexts (m, Fc), (m, J).

    Columns: the chain's leaf and features, the user's columns, and of the history its length, the newest entries'
    descriptions and how many different ones there are. A sample of at most `MOST_ROWS` rows is learned from.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor

    chain = np.concatenate([chains.leaf[:, None], chains.features[:, 1:]], axis=1).astype(np.float32)
    users, rewards = _columns(context, train[0]), train[1]
    rng = np.random.default_rng(seed)
    picked = rng.permutation(rewards.size)[:MOST_ROWS]
    row, column = np.divmod(picked, rewards.shape[1])
    trees = HistGradientBoostingRegressor(max_iter=200, learning_rate=0.08, early_stopping=True, random_state=seed)
    trees.fit(np.concatenate([users[row], chain[column]], axis=1), rewards[row, column])
    wanted = _columns(context, held_out)
    pairs = np.concatenate([np.repeat(wanted, len(chain), axis=0), np.tile(chain, (len(wanted), 1))], axis=1)
    return np.asarray(trees.predict(pairs), dtype=np.float32).reshape(len(wanted), len(chain))


def _columns(context: ContextShape, rows: Array) -> NDArray[np.float32]:
    users, history = rows[:, : len(context.users)], rows[:, len(context.users) :].astype(np.int64)
    codes = context.descriptions[history].astype(np.float32)
    codes[history == 0] = -1
    ordered = np.sort(codes, axis=1)
    different = (np.diff(ordered, axis=1) > 0).sum(axis=1)
    newest = codes[:, -NEWEST:].reshape(len(rows), -1)
    length = (history > 0).sum(axis=1, keepdims=True)
    return np.concatenate([users, length, different, newest], axis=1).astype(np.float32)
