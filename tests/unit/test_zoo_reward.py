"""The demo's reward model: small, for the demo's chains, and telling of users that it was not trained on."""

import numpy as np
import pytest

from allocator.chains import ChainSpace
from allocator.replay import Replay
from allocator.reward import RewardModel, context_of
from allocator.reward_report import Judge, rank_correlations
from allocator.rewards import ExpectedClicks
from allocator.table import held_out
from allocator.violations import violations
from cluster.config import DEMO
from models.features import UserQuery
from models.loading import Cascade
from models.worlds.simulate import synthetic_world
from models.worlds.synthetic import SyntheticConfig

USERS = 96


@pytest.fixture(scope="module")
def demo() -> tuple[ChainSpace, np.ndarray, np.ndarray]:
    """The chain space, and for users held out of training the predicted and the true rewards (USERS, J)."""
    cascade = Cascade.open(DEMO)
    space = ChainSpace(cascade.spec, len(cascade.items))
    rows = np.flatnonzero(held_out(range(5000)))[:USERS]
    users = cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(rows)])
    truth = ExpectedClicks(synthetic_world(SyntheticConfig())[1])(rows, Replay(cascade, space).run(users))
    return space, RewardModel.open(DEMO, cascade.spec, space).predict(context_of(users)), truth


def test_it_is_small() -> None:
    reward = Cascade.open(DEMO).spec.reward
    assert reward is not None
    assert (DEMO / reward.file).stat().st_size <= 300_000


def test_it_tells_held_out_users_apart_and_ranks_their_chains(demo: tuple[ChainSpace, np.ndarray, np.ndarray]) -> None:
    _, predicted, truth = demo
    r2 = 1 - ((predicted - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert r2 > 0.6
    assert rank_correlations(predicted, truth).mean() > 0.4
    assert abs(predicted.mean() - truth.mean()) < 0.5


def test_it_tells_what_chains_mean_to_a_user_beyond_what_they_mean_to_all(
    demo: tuple[ChainSpace, np.ndarray, np.ndarray],
) -> None:
    space, predicted, truth = demo
    judged = Judge.of(truth, truth, space.flops, float(space.flops[space.static.index])).quality("demo", predicted)
    assert judged.r2_personal > 0.15
    assert np.mean([at.gain for at in judged.budgets]) > 0  # against fixed chains chosen on these very users


def test_ranking_more_items_never_lowers_the_prediction(demo: tuple[ChainSpace, np.ndarray, np.ndarray]) -> None:
    space, predicted, _ = demo
    assert all(one.fall < 1e-4 for one in violations(space, predicted) if one.stage == "rank")
