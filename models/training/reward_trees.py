"""Gradient-boosted trees as a reward model: a strong one to compare with; never served."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.reward_shape import ContextShape

COMPONENTS = 6
MOST_ROWS = 16_000
DECAYS = (1.0, 0.8, 0.5)
LARGEST = 4
Array = NDArray[Any]


def predict_by_trees(
    context: ContextShape, train: tuple[Array, Array], held_out: Array, seed: int = 0
) -> NDArray[np.float32]:
    """Fit on (contexts (n, Fc), rewards (n, J)) and predict for contexts (m, Fc), (m, J).

    One regressor for the user's level and one for each of the leading components of what chains differ in beyond their
    means. Columns are the user's, and of the history by decay its length and the counts of each item column's codes,
    also in descending order. A sample of at most `MOST_ROWS` rows is learned from.
    """
    rng = np.random.default_rng(seed)
    picked = rng.permutation(len(train[0]))[:MOST_ROWS]
    rewards = train[1][picked].astype(np.float64)
    level, means = rewards.mean(axis=1), rewards.mean(axis=0)
    personal = rewards - level[:, None] - (means - means.mean())
    directions = np.linalg.svd(personal, full_matrices=False)[2][:COMPONENTS]
    learned, wanted = _columns(context, train[0][picked]), _columns(context, held_out)
    parts = [_fitted(learned, personal @ direction, wanted, seed) for direction in directions]
    differences = np.stack(parts, axis=1) @ directions
    found = _fitted(learned, level, wanted, seed)[:, None] + (means - means.mean()) + differences
    return np.asarray(found, dtype=np.float32)


def _fitted(columns: Array, target: Array, wanted: Array, seed: int) -> NDArray[np.float64]:
    from sklearn.ensemble import HistGradientBoostingRegressor

    options = {"max_iter": 150, "learning_rate": 0.05, "max_leaf_nodes": 12, "max_features": 0.3}
    trees = HistGradientBoostingRegressor(
        **options, min_samples_leaf=40, l2_regularization=5.0, early_stopping=True, random_state=seed
    )
    return np.asarray(trees.fit(columns, target).predict(wanted), dtype=np.float64)


def _columns(context: ContextShape, rows: Array) -> NDArray[np.float32]:
    users, history = rows[:, : len(context.users)], rows[:, len(context.users) :].astype(np.int64)
    there, codes = history > 0, context.descriptions[history]
    ages = np.arange(history.shape[1] - 1, -1, -1)
    parts: list[Array] = [users.astype(np.float32)]
    for decay in DECAYS:
        weights = there * decay**ages
        parts.append(weights.sum(axis=1, keepdims=True))
        for at, size in enumerate(context.described):
            counts = np.zeros((len(rows), size))
            np.add.at(counts, (np.arange(len(rows))[:, None], codes[:, :, at]), weights)
            parts += [counts, -np.sort(-counts, axis=1)[:, :LARGEST]]
    return np.concatenate(parts, axis=1).astype(np.float32)
