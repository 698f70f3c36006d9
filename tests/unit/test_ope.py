"""Off-policy estimates: unbiased on simulated logs with known truth, intervals that cover it, users respected."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.choice import Floats, Ints
from allocator.ope.estimates import (
    ESTIMATORS,
    Scores,
    doubly_robust,
    effective_size,
    ips,
    snips,
    weights,
    weights_of_kind,
)
from allocator.ope.evaluation import Evaluation, Figure, evaluate
from allocator.ope.intervals import Clusters
from allocator.ope.logged import Logged, Target
from allocator.ope.targets import Scene, best_of, judged, kind_propensities, newest, target_of

CHAINS = 5
COSTS = np.linspace(0.0, 0.4, CHAINS)
KINDS = np.array([0, 0, 1, 1, 1])
WIDTH = 3


class World:
    """Users with some requests each; what chain j earns from context x is x @ truth[:, j], more or less by user."""

    def __init__(self, seed: int, users: int = 400, per_user: int = 4, explores: float = 0.4) -> None:
        rng = np.random.default_rng(seed)
        self.truth = np.linspace(0.2, 1.0, WIDTH)[:, None] * (1 + np.sqrt(np.arange(CHAINS)))
        self.old = self.truth * np.linspace(1.5, 0.4, CHAINS)
        self.users = np.repeat(np.arange(users), per_user)
        self.contexts = np.repeat(rng.uniform(0, 1, (users, WIDTH)), per_user, axis=0)
        self.explores = explores
        penalties = np.tile(COSTS, (len(self.users), 1))
        serves = best_of(self.contexts @ self.old, penalties)
        explored = rng.random(len(self.users)) < explores
        self.chains: Ints = np.where(explored, rng.integers(0, CHAINS, len(serves)), serves)
        share = explores / CHAINS
        propensities = np.where(self.chains == serves, 1 - explores + share, share)
        mean = (self.contexts @ self.truth)[np.arange(len(serves)), self.chains]
        habit = np.repeat(rng.normal(0, 0.3, users), per_user)
        self.logged = Logged(self.users, mean + habit + rng.normal(0, 0.5, len(serves)), propensities)

    def scene(self, explores: float = 0.0) -> Scene:
        none = np.zeros(len(self.users), np.int64)
        return Scene(self.contexts, self.chains, none, COSTS[None], COSTS, KINDS, self.logged.propensities, explores)

    def target(self, weight: Floats, model: Floats, explores: float = 0.0) -> Target:
        penalties = np.tile(COSTS, (len(self.users), 1))
        rewards = (self.contexts @ weight, self.contexts @ model)
        return target_of(rewards[0], rewards[1], self.chains, penalties, (COSTS, KINDS), explores)

    def value(self, weight: Floats) -> float:
        """What the policy of these rewards earns from any user of this world, in truth."""
        contexts = np.random.default_rng(9).uniform(0, 1, (200_000, WIDTH))
        best = best_of(contexts @ weight, np.tile(COSTS, (len(contexts), 1)))
        return float((contexts @ self.truth)[np.arange(len(best)), best].mean())

    def evaluation(self) -> Evaluation:
        return evaluate(self.logged, judged(self.scene(), (lambda x: x @ self.old, lambda x: x @ self.truth)))

    def scores(self, weight: Floats, model: Floats) -> dict[str, Scores]:
        target = self.target(weight, model)
        logged_model = (self.contexts @ model)[np.arange(len(self.chains)), self.chains]
        weight_of = weights(self.logged, target)
        return {name: one(self.logged, target, weight_of, logged_model) for name, one in ESTIMATORS.items()}


def width(figure: Figure) -> float:
    assert figure.low is not None
    assert figure.high is not None
    return figure.high - figure.low


@pytest.fixture(scope="module")
def runs() -> list[dict[str, tuple[float, bool]]]:
    """By estimator, over worlds: by how much it misses the truth, and whether its interval holds it."""
    found, truth = [], World(0).value(World(0).truth)
    for seed in range(300):
        world = World(seed)
        clusters = Clusters(world.users)
        by_name = {}
        for name, one in world.scores(world.truth, world.old).items():
            interval = clusters.interval(one.rows)
            by_name[name] = (one.value - truth, interval.low <= truth <= interval.high)
        found.append(by_name)
    return found


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_estimates_miss_the_truth_by_chance_alone(runs: list[dict[str, tuple[float, bool]]], name: str) -> None:
    missed = np.array([run[name][0] for run in runs])
    assert abs(missed.mean()) < 3.5 * missed.std() / np.sqrt(len(missed))


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_as_often_as_they_say(runs: list[dict[str, tuple[float, bool]]], name: str) -> None:
    assert np.mean([run[name][1] for run in runs]) == pytest.approx(0.95, abs=0.04)


def test_a_good_model_makes_the_estimate_surer() -> None:
    worlds = [World(seed) for seed in range(60)]
    found = [world.scores(world.truth, world.truth) for world in worlds]
    spread = {name: np.std([one[name].value for one in found]) for name in ("ips", "snips", "dr")}
    assert spread["dr"] < 0.8 * spread["snips"] < 0.8 * spread["ips"]


def test_the_difference_of_two_policies_is_surer_than_if_they_were_judged_apart() -> None:
    world = World(1)
    found = evaluate(world.logged, judged(world.scene(), (lambda x: 0.98 * x @ world.truth, lambda x: x @ world.truth)))
    widths = [width(one.net["dr"]) for one in (found.difference, found.current, found.candidate)]
    assert widths[0] < 0.3 * np.hypot(widths[1], widths[2])
    assert found.agree < 1
    assert found.difference.flops == pytest.approx(found.candidate.flops - found.current.flops)


def test_what_is_better_is_called_so_and_the_other_way_round_worse() -> None:
    world = World(2)
    models = (lambda x: x @ world.old, lambda x: x @ world.truth)
    assert evaluate(world.logged, judged(world.scene(), models)).verdict == "better"
    assert evaluate(world.logged, judged(world.scene(), models[::-1])).verdict == "worse"
    same = evaluate(world.logged, judged(world.scene(), (models[0], models[0])))
    assert same.verdict == "not distinguishable"
    assert same.agree == 1.0
    assert same.difference.net["dr"].value == 0.0


def test_without_exploration_nothing_is_said_of_other_chains() -> None:
    world = World(3, explores=0.0)
    found = world.evaluation()
    assert found.verdict == "not distinguishable"
    assert "does not hold what the candidate policy would do" in found.reason


def test_a_candidate_that_is_only_sure_of_itself_is_not_called_better() -> None:
    found = []
    for seed in range(40):
        world = World(seed, explores=0.1)
        errs = np.random.default_rng(seed).normal(0, 0.6, world.truth.shape)
        models = (lambda x, of=world: x @ of.truth, lambda x, of=world, by=errs: x @ (of.truth + by))
        found.append(evaluate(world.logged, judged(world.scene(), models)))
    assert sum(one.verdict == "better" for one in found) <= 1
    own, cautious = (np.mean([one.difference.net[name].value for one in found]) for name in ("kinds", "kinds_cautious"))
    assert cautious < own, "a model thinks too well of what it would choose: it chooses where it errs upwards"


def test_a_handful_of_requests_that_got_what_the_candidate_would_give_is_no_evidence() -> None:
    found = World(3, users=25, explores=0.1).evaluation()
    assert found.candidate.effective_size < 10
    assert found.candidate.reward["snips"].low is None
    assert found.difference.net["dr"].sign == 0


def test_the_policy_that_served_has_weight_one_and_every_estimate_is_the_mean() -> None:
    world = World(4)
    target = world.target(world.old, world.truth, world.explores)
    weight = weights(world.logged, target)
    np.testing.assert_allclose(weight, 1.0)
    mean = world.logged.rewards.mean()
    for estimate in (ips, snips):
        assert estimate(world.logged, target, weight, np.zeros(0)).value == pytest.approx(mean)
    assert effective_size(weight) == pytest.approx(len(world.logged))
    perfect = Target(target.chances, target.of_kind, world.logged.rewards, target.penalties, target.flops)
    assert doubly_robust(world.logged, perfect, weight, world.logged.rewards).value == pytest.approx(mean)


def test_chances_of_all_chains_sum_to_one_and_none_is_unavailable() -> None:
    world = World(5, users=30)
    penalties = np.tile(np.where(np.arange(CHAINS) == 2, np.inf, COSTS), (len(world.users), 1))
    rewards = world.contexts @ world.truth
    each = [
        target_of(rewards, rewards, np.full(len(rewards), chain), penalties, (COSTS, KINDS), 0.2)
        for chain in range(CHAINS)
    ]
    np.testing.assert_allclose(sum(one.chances for one in each), 1.0)
    assert not each[2].chances.any()
    expected = sum(one.chances * rewards[:, chain] for chain, one in enumerate(each))
    np.testing.assert_allclose(each[0].expected, expected)
    assert np.isfinite(each[0].penalties).all()


def test_the_chance_of_a_kind_is_that_of_its_chains_together() -> None:
    world = World(8)
    penalties = np.tile(COSTS, (len(world.users), 1))
    serves = best_of(world.contexts @ world.old, penalties)
    share = world.explores / CHAINS
    each = share + (1 - world.explores) * (np.arange(CHAINS) == serves[:, None])
    together = np.array([row[KINDS[chain] == KINDS].sum() for row, chain in zip(each, world.chains, strict=True)])
    found = kind_propensities(world.chains, world.logged.propensities, penalties, KINDS, serves)
    np.testing.assert_allclose(found, together)


def test_by_kinds_little_exploration_tells_what_by_chains_it_does_not() -> None:
    missed, held, sizes = [], [], []
    wrong = lambda x: x @ worlds[0].truth + 3.0 * (KINDS - 0.5)  # noqa: E731
    worlds = [World(seed, explores=0.1) for seed in range(60)]
    true = worlds[0].value(worlds[0].truth + 0.0)
    for world in worlds:
        both = judged(world.scene(), (lambda x, of=world: x @ of.old, lambda x, of=world: x @ of.truth))
        skewed = judged(world.scene(), (lambda x, of=world: x @ of.old, wrong))
        target = Target(
            both.targets[1].chances,
            both.targets[1].of_kind,
            wrong(world.contexts)[np.arange(len(world.users)), best_of(world.contexts @ world.truth, COSTS[None])],
            both.targets[1].penalties,
            both.targets[1].flops,
        )
        weight = weights_of_kind(target, both.of_kind)
        score = doubly_robust(world.logged, target, weight, skewed.predicted[1])
        interval = Clusters(world.users).interval(score.rows)
        missed.append(score.value - true)
        held.append(interval.low <= true <= interval.high)
        by_chain = weights(world.logged, target)
        sizes.append((effective_size(weight), effective_size(by_chain)))
    assert abs(np.mean(missed)) < 3.5 * np.std(missed) / np.sqrt(len(missed)), (
        "whatever it says of the kinds themselves"
    )
    assert np.mean(held) > 0.85
    assert np.mean([kinds / chains for kinds, chains in sizes]) > 1.5


def test_the_newest_policy_at_or_before_a_request_was_in_force() -> None:
    assert newest(np.array([10.0, 20.0]), np.array([9.9, 10.0, 19.0, 20.0, 99.0])).tolist() == [-1, 0, 0, 1, 1]


def test_prices_of_the_time_decide_what_a_target_does() -> None:
    world = World(6, users=10)
    dear = np.stack([COSTS, COSTS * 100])
    policies = (np.arange(len(world.users)) % 2).astype(np.int64)
    scene = Scene(
        world.contexts, np.zeros(len(world.users), np.int64), policies, dear, COSTS, KINDS, np.ones(len(world.users))
    )
    chances = judged(scene, (lambda x: x @ world.truth, lambda x: x @ world.truth)).targets[0].chances
    assert (chances[policies == 1] == 1).all()
    assert not chances[policies == 0].any()


@pytest.mark.parametrize("wrong", [0.0, -0.1, 1.1, np.nan])
def test_a_propensity_that_is_none_is_refused_by_name(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"propensities: .* row 1 has"):
        Logged(np.arange(2), np.zeros(2), np.array([1.0, wrong]))


def test_rewards_that_are_no_numbers_and_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="rewards"):
        Logged(np.arange(2), np.array([0.0, np.inf]), np.ones(2))
    with pytest.raises(ValueError, match="one length"):
        Logged(np.arange(2), np.zeros(3), np.ones(2))
    with pytest.raises(ValueError, match="at least one row"):
        Logged(np.arange(0), np.zeros(0), np.ones(0))


def test_clipping_happens_only_where_asked_and_is_told() -> None:
    world = World(7)
    both = judged(world.scene(), (lambda x: x @ world.old, lambda x: x @ world.truth))
    free, cut = evaluate(world.logged, both), evaluate(world.logged, both, most_weight=2.0)
    assert free.candidate.clipped == 0.0
    assert cut.candidate.clipped > 0.05
    assert cut.most_weight == 2.0
    assert cut.candidate.effective_size > free.candidate.effective_size
    assert cut.candidate.mean_weight == free.candidate.mean_weight, "what the log lacks shows in the true weights"


def test_a_users_requests_count_as_one_and_not_as_many() -> None:
    rng = np.random.default_rng(0)
    of_users = rng.normal(size=200)
    rows = np.repeat(of_users, 10)
    users = np.repeat(np.arange(200), 10)
    honest, naive = Clusters(users).interval(rows), Clusters(np.arange(2000)).interval(rows)
    assert honest.half_width == pytest.approx(Clusters(np.arange(200)).interval(of_users).half_width, rel=1e-6)
    assert honest.half_width > 2.5 * naive.half_width
    drawn = Clusters(users).bootstrapped(rows, seed=1)
    assert drawn.half_width == pytest.approx(honest.half_width, rel=0.15)
    assert drawn == Clusters(users).bootstrapped(rows, seed=1)


def test_one_user_tells_nothing_of_others() -> None:
    alone = Clusters(np.zeros(5)).interval(np.arange(5.0))
    assert (alone.value, alone.low, alone.high) == (2.0, -inf, inf)


@pytest.mark.parametrize("size", [1.0, 1e-93, 1e-150, 1e150])
def test_an_interval_grows_with_its_rows_however_small_or_large_they_are(size: float) -> None:
    rows, users = np.arange(14.0), np.arange(14) // 2
    one, other = Clusters(users).interval(rows), Clusters(users).interval(size * rows)
    assert [other.value, other.low, other.high] == pytest.approx(
        [size * part for part in (one.value, one.low, one.high)]
    )


def test_few_heavy_weights_widen_the_interval_beyond_the_normal_one() -> None:
    rows = np.zeros(1000)
    rows[:3] = 100.0
    interval = Clusters(np.arange(1000)).interval(rows)
    error = rows.std(ddof=1) / np.sqrt(1000)
    assert interval.half_width > 3 * error


columns = st.integers(1, 40).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 5), min_size=n, max_size=n),
        st.lists(st.floats(-5, 5), min_size=n, max_size=n),
        st.lists(st.floats(0.01, 1.0), min_size=n, max_size=n),
        st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n),
    )
)


@given(columns, st.floats(-3, 3))
def test_estimates_keep_to_their_definitions_for_any_log(
    drawn: tuple[list[int], list[float], list[float], list[float]], shift: float
) -> None:
    users, rewards, propensities, chances = (np.array(column, float) for column in drawn)
    logged = Logged(users, rewards, propensities)
    target = Target(chances, chances, np.zeros(len(users)), np.zeros(len(users)), np.zeros(len(users)))
    weight = weights(logged, target)
    assert 0 <= effective_size(weight) <= len(users) + 1e-9
    normalised = snips(logged, target, weight, rewards)
    if weight.any():
        seen = rewards[weight > 0]
        assert seen.min() - 1e-9 <= normalised.value <= seen.max() + 1e-9
        moved = Logged(users, rewards + shift, propensities)
        assert snips(moved, target, weight, rewards).value == pytest.approx(normalised.value + shift, abs=1e-6)
    assert doubly_robust(logged, target, weight, np.zeros(len(users))).value == pytest.approx(
        ips(logged, target, weight, rewards).value
    ), "without a model it is the inverse propensity score"
    interval = Clusters(users).interval(weight * rewards)
    assert interval.low <= interval.value <= interval.high
    assert Clusters(users[::-1]).interval((weight * rewards)[::-1]).value == pytest.approx(interval.value, abs=1e-9)
