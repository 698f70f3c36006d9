"""What the reward model says of users on file, so that prices have something to start from."""

import numpy as np

from allocator.reward import RewardModel, context_of
from models.batch import FloatArray
from models.features import UserQuery
from models.loading import Cascade

BATCH_ROWS = 64


def known_rewards(cascade: Cascade, model: RewardModel, most: int, seed: int = 0) -> FloatArray:
    """Predicted rewards (S, J) of `most` users drawn from the cascade's table (all, where it has fewer).

    They have the features and histories of the table; requests may override them, and come from some users more often.
    """
    count = len(cascade.users.ids)
    drawn = np.random.default_rng(seed).permutation(count)[:most].astype(np.int64)
    users = cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(drawn)])
    contexts = context_of(users)
    parts = [model.predict(contexts[at : at + BATCH_ROWS]) for at in range(0, len(contexts), BATCH_ROWS)]
    return np.concatenate(parts)
