"""Which cold variants the prices ask for, which are never cold, and what Serve's autoscaler is told."""

from types import SimpleNamespace

import numpy as np
import pytest
from fake_time import FakeTime
from pydantic import ValidationError
from ray.serve.config import AutoscalingConfig
from small_space import SPACE, concave_rewards
from tiny_cascade import TinyCascade
from tiny_reward import space_of

from allocator.choice import best_chains, penalties
from allocator.policy import Policy
from cluster.autoscale import STEADY_WINDOWS, Warmth, cold_variants, kept_warm, scaling, used_by, wanted
from cluster.autoscale_settings import AutoscaleSettings
from cluster.availability import without
from cluster.config import AllocatorSettings, Settings
from cluster.ongoing import LOAD, Ongoing, by_load
from cluster.placing import own_variants, scaled_variants
from models.errors import TryAgain
from models.loading import Cascade

REWARDS = concave_rewards(400, seed=2).astype(np.float32)
OWN = frozenset(SPACE.variants)
S1, L1, S2, L2 = (SPACE.variants[at] for at in (1, 2, 3, 4))


def policy(price: float) -> Policy:
    every = np.ones(len(SPACE), dtype=bool)
    return Policy(1, 0.0, np.array([price]), SPACE.flops[:, None], every, "m", 0)


def used(price: float) -> dict[tuple[str, str], float]:
    """Share of requests that use each variant where all are there."""
    chosen = best_chains(REWARDS, penalties(SPACE.flops[:, None], np.array([price])))
    return dict(zip(SPACE.variants, SPACE.calls[chosen].mean(axis=0), strict=True))


def test_a_cold_variant_is_wanted_when_free_requests_would_take_it() -> None:
    assert wanted(SPACE, policy(0.0), REWARDS, frozenset({L1, L2}), OWN) == {L1, L2}


def test_a_cold_variant_that_is_priced_out_stays_cold() -> None:
    price = 1.0
    assert used(price)[L2] == 0.0
    assert wanted(SPACE, policy(price), REWARDS, frozenset({L2}), OWN) == frozenset()


@pytest.mark.parametrize("price", np.geomspace(1e-6, 1e-2, 7))
def test_what_is_wanted_is_what_would_be_used_by_more_than_a_few(price: float) -> None:
    for away in ({L1}, {L2}, {L1, L2}, {S1}):
        share = {name: used(price)[name] for name in away}
        found = wanted(SPACE, policy(price), REWARDS, frozenset(away), OWN)
        assert found == {name for name, of in share.items() if of >= 0.02}


def test_what_cannot_be_warmed_is_not_asked_for_and_not_counted_on() -> None:
    away = frozenset({L1, L2})
    assert wanted(SPACE, policy(0.0), REWARDS, away, frozenset({L2})) == {L2}
    assert wanted(SPACE, policy(0.0), REWARDS, away, frozenset()) == frozenset()


def test_a_stage_of_which_nothing_is_left_wants_what_can_be_warmed() -> None:
    found = wanted(SPACE, policy(0.0), REWARDS, frozenset({S1, L1}), OWN)
    assert found <= {S1, L1}
    assert found
    assert wanted(SPACE, policy(0.0), REWARDS, frozenset({S1, L1}), frozenset()) == frozenset()


def test_a_great_many_requests_ask_for_what_a_sample_of_them_does() -> None:
    many = np.repeat(REWARDS, 50, axis=0)
    for price in (0.0, 1e-4, 1.0):
        away = frozenset({L1, L2})
        assert wanted(SPACE, policy(price), many, away, OWN) == wanted(SPACE, policy(price), REWARDS, away, OWN)


def test_equally_good_chains_warm_nothing() -> None:
    assert wanted(SPACE, policy(0.0), np.ones_like(REWARDS), frozenset({L1, L2}), OWN) == frozenset()


def test_rewards_that_are_no_numbers_and_no_rewards_at_all_want_nothing() -> None:
    for rewards in (REWARDS[:0], np.full_like(REWARDS, np.nan)):
        assert wanted(SPACE, policy(0.0), rewards, frozenset({L1}), OWN) == frozenset()


def test_only_a_steady_wish_is_due() -> None:
    warmth = Warmth()
    for window in range(STEADY_WINDOWS):
        assert warmth.due == frozenset()
        warmth = warmth.after([L1] if window != 1 else [L1, L2])
    assert warmth.due == {L1}
    assert warmth.after([]).after([L1]).due == frozenset(), "it has to last again"


def test_the_cheapest_chain_or_the_safe_one_that_is_set_is_kept_warm(tiny: TinyCascade) -> None:
    space = space_of(tiny)
    scaled = AutoscaleSettings(enabled=True)
    assert kept_warm(Settings(autoscale=scaled), space) == used_by(space.chains[int(space.flops.argmin())])
    safe = Settings(autoscale=scaled, allocator=AllocatorSettings(safe_chain="seq>light@4>skip"))
    assert kept_warm(safe, space) == {("recall", "seq"), ("prerank", "light")}
    assert cold_variants(safe, space) == {("recall", "dot"), ("prerank", "heavy"), ("rank", "fine")}


def test_without_scaling_or_with_a_least_number_nothing_goes_cold(tiny: TinyCascade) -> None:
    space = space_of(tiny)
    for scaled in (AutoscaleSettings(), AutoscaleSettings(enabled=True, min_replicas=1)):
        assert cold_variants(Settings(autoscale=scaled), space) == frozenset()


def test_only_variants_with_deployments_of_their_own_scale(tiny: TinyCascade) -> None:
    spec = Cascade.open(tiny.folder).spec
    scaled = AutoscaleSettings(enabled=True)
    assert scaled_variants(Settings(autoscale=scaled, placement="inline"), spec) == frozenset()
    assert scaled_variants(Settings(autoscale=scaled, placement="own"), spec) == frozenset(space_of(tiny).variants)
    assert scaled_variants(Settings(placement="own"), spec) == frozenset()
    assert own_variants(Settings(placement="own"), spec) == frozenset(space_of(tiny).variants)


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize(("least", "most", "start"), [(0, 1, 1), (0, 4, 9), (2, 3, 1)])
def test_serve_takes_the_autoscaling_config(warm: bool, least: int, most: int, start: int) -> None:
    settings = AutoscaleSettings(enabled=True, min_replicas=least, max_replicas=most)
    config = AutoscalingConfig.model_validate(scaling(settings, start, warm))
    assert config.min_replicas == max(least, int(warm))
    assert config.min_replicas <= config.initial_replicas <= config.max_replicas
    assert config.initial_replicas >= 1
    assert config.policy.policy_function == "cluster.ongoing:by_load"


def test_more_at_least_than_at_most_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_replicas"):
        AutoscaleSettings(min_replicas=5, max_replicas=4)
    with pytest.raises(ValidationError):
        AutoscaleSettings(min_replicas=-1)


class TestOngoing:
    def test_its_mean_is_call_seconds_over_seconds(self) -> None:
        time = FakeTime()
        ongoing = Ongoing(time)
        with ongoing:
            time.now_s = 2.0
            with ongoing:
                time.now_s = 3.0
        time.now_s = 10.0
        assert ongoing.mean() == pytest.approx(0.4)
        time.now_s = 20.0
        assert ongoing.mean() == 0.0, "counted once"

    def test_a_call_under_way_counts_before_it_ends(self) -> None:
        time = FakeTime()
        ongoing = Ongoing(time)
        with ongoing:
            assert ongoing.mean() == 1.0
            time.now_s = 5.0
            assert ongoing.mean() == 1.0

    def test_a_call_that_fails_has_ended(self) -> None:
        time = FakeTime()
        ongoing = Ongoing(time)
        with pytest.raises(TryAgain), ongoing:
            raise TryAgain("gone")
        time.now_s = 1.0
        assert ongoing.mean() == 0.0


def context(running: int, loads: dict[str, float], sampled: float = 0.0, target: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        current_num_replicas=running,
        target_num_replicas=target,
        aggregated_metrics={LOAD: loads} if loads else {},
        total_num_requests=sampled,
        config=SimpleNamespace(target_ongoing_requests=2.0),
    )


@pytest.mark.parametrize(
    ("at", "wants"),
    [
        (context(1, {"a": 0.001}), 0.0005),  # rounded up by Serve: a variant in use keeps a replica
        (context(1, {"a": 0.0}), 0.0),
        (context(2, {"a": 3.0, "b": 5.0}), 4.0),
        (context(1, {"a": 1.0}, sampled=6.0), 3.0),  # calls wait
        (context(1, {}, sampled=1.0), 0.5),
        (context(0, {}, target=1), 1.0),  # it starts
    ],
)
def test_replicas_follow_the_calls_they_have(at: SimpleNamespace, wants: float) -> None:
    replicas, state = by_load(at)  # type: ignore[arg-type]
    assert (replicas, state) == (wants, {})


def test_the_mask_of_what_is_kept_warm_is_never_empty() -> None:
    warm = used_by(SPACE.chains[int(SPACE.flops.argmin())])
    assert without(SPACE, OWN - warm).any()


def test_settings_of_a_replica_are_told_by_their_variables() -> None:
    found = Settings.from_environment({}, {"GREENFLOW_AUTOSCALE_ENABLED": "1", "GREENFLOW_AUTOSCALE_MAX_REPLICAS": "7"})
    assert found.autoscale == AutoscaleSettings(enabled=True, max_replicas=7)
