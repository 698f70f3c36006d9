"""A small case to evaluate: users of SPACE, and predictions of them that are as good as a test wants."""

import numpy as np
from small_space import SPACE, concave_rewards

from allocator.pfec.case import Case
from allocator.pfec.footprint import Carbon, from_flops
from allocator.pfec.report import About

FOOTPRINT = from_flops(SPACE, 1e9)
CARBON = Carbon(pue=1.5, grams_per_kwh=400.0)


def case_of(users: int = 150, training: int = 200, noise: float = 0.05) -> Case:
    """Predictions are the true rewards times lognormal noise of each user and chain."""
    rng = np.random.default_rng(7)
    truth, training_truth = concave_rewards(users, seed=1), concave_rewards(training, seed=2)
    predicted, training_predicted = (x * rng.lognormal(0, noise, x.shape) for x in (truth, training_truth))
    return Case(SPACE, truth, predicted, training_truth.mean(axis=0), training_predicted, FOOTPRINT.joules)


def case_of_alike(users: int = 400, training: int = 400) -> Case:
    """All users expect the same, and differ by chance; predictions are training means and an opinion on each user that
    has nothing to do with what the user earns."""
    rng = np.random.default_rng(8)
    mean = concave_rewards(400, seed=1).mean(axis=0)
    truth, training_truth = (mean + rng.normal(0, 0.1, (n, len(SPACE))) for n in (users, training))
    means = training_truth.mean(axis=0)
    opinions = (means + rng.normal(0, 0.05, (n, len(SPACE))) for n in (users, training))
    predicted, training_predicted = opinions
    return Case(SPACE, truth, predicted, means, training_predicted, FOOTPRINT.joules)


def about_of(case: Case, draws: int) -> About:
    return About(
        cascade="small <world>",
        world="made for tests",
        gives="clicks",
        k=5,
        chains=len(case.space),
        static_chain=case.space.static.id,
        static_flops=float(case.space.static.flops),
        reward_model="0" * 64,
        training_users=len(case.training_predictions),
        held_out_users=len(case.rewards),
        draws=draws,
        seed=0,
    )
