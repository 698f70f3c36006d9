"""What the allocator's settings mean for a cascade, and what is refused before anything is deployed."""

from pathlib import Path

import numpy as np
import pytest
from tiny_cascade import STATIC, TinyCascade
from tiny_reward import space_of, with_reward

from cluster.app import build, check
from cluster.config import AllocatorSettings, Settings
from cluster.control_settings import control_of, reward_model_name, safe_chain, start_of, wants_allocator
from models.errors import FixFile, FixSetup
from models.loading import Cascade


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


@pytest.mark.parametrize(("enabled", "wanted"), [(None, True), (True, True), (False, False)])
def test_a_reward_model_brings_the_allocator_unless_it_is_switched_off(
    rewarded: TinyCascade, enabled: bool | None, wanted: bool
) -> None:
    spec = Cascade.open(rewarded.folder).spec
    assert wants_allocator(AllocatorSettings(enabled=enabled), spec) is wanted


@pytest.mark.parametrize("enabled", [None, False])
def test_without_a_reward_model_the_static_chain_runs(tiny: TinyCascade, enabled: bool | None) -> None:
    assert not wants_allocator(AllocatorSettings(enabled=enabled), Cascade.open(tiny.folder).spec)


@pytest.mark.parametrize("settings", [{"enabled": True}, {"flops_per_s": 1e9}])
def test_what_needs_a_reward_model_says_how_to_get_one(tiny: TinyCascade, settings: dict[str, object]) -> None:
    with pytest.raises(FixSetup, match="greenflow train-reward"):
        build(Settings.model_validate({"cascade": tiny.folder, "allocator": settings}))


def test_a_limit_with_the_allocator_switched_off_is_a_contradiction(rewarded: TinyCascade) -> None:
    allocator = AllocatorSettings(enabled=False, flops_per_s=1e9)
    with pytest.raises(FixSetup, match=r"allocator\.flops_per_s"):
        check(Settings(cascade=rewarded.folder, allocator=allocator))


def test_the_safe_chain_is_the_static_one_or_the_one_that_is_named(tiny: TinyCascade) -> None:
    space = space_of(tiny)
    assert safe_chain(AllocatorSettings(), space).id == STATIC
    assert safe_chain(AllocatorSettings(safe_chain="dot>skip>skip"), space).id == "dot>skip>skip"


def test_an_unknown_safe_chain_is_refused_by_name(rewarded: TinyCascade) -> None:
    allocator = AllocatorSettings(safe_chain="dot>skip>gone@4")
    with pytest.raises(FixSetup, match=r"allocator\.safe_chain.*gone"):
        build(Settings(cascade=rewarded.folder, allocator=allocator))


def test_a_reward_model_of_another_chain_space_is_refused(rewarded: TinyCascade, tmp_path: Path) -> None:
    other = rewarded.copy_to(tmp_path / "other")
    other.edit(lambda document: document["stages"][1].update(items=[4, 6, 8]))
    with pytest.raises(FixFile, match="train the model again"):
        check(Settings(cascade=other.folder))


def test_the_limit_of_the_settings_is_that_of_the_control(rewarded: TinyCascade) -> None:
    spec, space = Cascade.open(rewarded.folder).spec, space_of(rewarded)
    limited = Settings(allocator=AllocatorSettings(flops_per_s=2e6, window_s=0.5, safe_chain="dot>skip>skip"))
    state = control_of(limited, spec, space).init(0.0)
    assert state.terms.limit.tolist() == [1e6]
    assert space.chains[state.policy.safe_chain].id == "dot>skip>skip"
    free = control_of(Settings(), spec, space).init(0.0)
    assert np.isinf(free.terms.limit).all()


def test_the_first_price_is_that_of_the_expected_rate_or_safe_at_any(rewarded: TinyCascade) -> None:
    cascade, space = Cascade.open(rewarded.folder), space_of(rewarded)
    prices = []
    for expected_rps in (None, 4.0, 0.5):
        allocator = AllocatorSettings(flops_per_s=2.0 * space.flops.max(), expected_rps=expected_rps)
        start = start_of(allocator, cascade, space)
        state = control_of(Settings(allocator=allocator), cascade.spec, space, start).init(0.0)
        prices.append(float(state.policy.prices[0]))
    assert prices[0] > prices[1] > prices[2] == 0.0
    assert start_of(AllocatorSettings(enabled=False), cascade, space) is None, "nobody decides"
    assert start_of(AllocatorSettings(), cascade, space) is not None, "a limit may be set live"


def test_reward_models_are_told_apart_by_their_content(rewarded: TinyCascade, tmp_path: Path) -> None:
    other = with_reward(rewarded, tmp_path / "other", seed=4)
    names = {reward_model_name(Cascade.open(tiny.folder).spec) for tiny in (rewarded, other)}
    assert len(names) == 2


@pytest.mark.parametrize("placement", ["inline", "own"])
def test_a_cascade_with_an_allocator_is_built_without_ray(rewarded: TinyCascade, placement: str) -> None:
    build(Settings.model_validate({"cascade": rewarded.folder, "allocator": {"placement": placement}}))
