"""The prior: from FLOPs or from a profile, positive everywhere, and a file that is no profile is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_space import space_of

from allocator.energy.prior import GUESSED, PROFILED, Prior, Spread, VariantJoules, from_flops, from_profile
from allocator.energy.state import CORE, initial
from allocator.energy.windows import SERVING
from allocator.joules import Quality
from models.errors import FixFile
from models.spec import CascadeSpec

SPACE = space_of([25, 50], [10, 20], "v0-0>v1-1@50>v2-1@20")


def spec() -> CascadeSpec:
    return SPACE._spec


def profile_file(folder: Path, quality: str = "modelled", skip: str = "", **change: object) -> Path:
    fit = {"call_j": 1e-3, "item_j": 2e-5, "typical_items": 100.0, "fit_error": 0.1, "quality": quality}
    fits = [{"stage": s, "variant": v} | fit | change for s, v in SPACE.variants if v != skip]
    path = folder / "profile.json"
    path.write_text(json.dumps({"timings": [], "watts_per_core": 12.0, "joules": fits}), encoding="utf-8")
    return path


def test_flops_become_joules_of_calls_and_items() -> None:
    prior = from_flops(spec(), flops_per_joule=1e3)
    found = prior.variants["s1", "v1-1"]
    assert (found.call_j, found.item_j) == pytest.approx((1.001, 0.031))
    assert (prior.quality, prior.spread) == (Quality.ASSUMED, GUESSED)
    assert set(prior.variants) == {*SPACE.variants, SERVING}


def test_a_profiles_joules_are_taken_as_they_are(tmp_path: Path) -> None:
    prior = from_profile(spec(), profile_file(tmp_path))
    assert prior.variants["s2", "v2-0"] == VariantJoules(1e-3, 2e-5)
    assert (prior.quality, prior.spread) == (Quality.MODELLED, PROFILED)
    assert "12 W" in prior.statement
    assert prior.variants[SERVING].item_j == pytest.approx(0.4e-3 * 12)


def test_a_profile_is_measured_when_all_of_it_is(tmp_path: Path) -> None:
    assert from_profile(spec(), profile_file(tmp_path, "measured")).quality is Quality.MEASURED


def test_a_prior_says_at_which_watts_of_a_processor_its_joules_were_worked_out_from_seconds(tmp_path: Path) -> None:
    assert from_profile(spec(), profile_file(tmp_path)).core_w == 12.0
    assert from_profile(spec(), profile_file(tmp_path, "measured")).core_w is None, "joules were read, not worked out"
    assert from_flops(spec()).core_w == pytest.approx(from_flops(spec()).variants[SERVING].call_j / 2e-3)


@pytest.mark.parametrize("spread", [GUESSED, PROFILED, Spread(common=0.0, variant=0.05, part=0.05)])
@pytest.mark.parametrize("core_w", [None, 12.0])
def test_beliefs_about_processors_and_variants_can_be_held_together(spread: Spread, core_w: float | None) -> None:
    """The covariance has only positive eigenvalues, also where all variants err with the watts of a processor."""
    variants = {("s", name): VariantJoules(1.0, 1.0) for name in "abc"}
    found = initial(Prior(variants, spread, Quality.ASSUMED, "", core_w=core_w)).spread
    np.testing.assert_array_equal(found, found.T)
    assert np.linalg.eigvalsh(found[:-1, :-1]).min() > 1e-4
    assert (found[-1] == 0).all(), "the background is not believed in before it is seen"
    together = found[CORE, 1:CORE] / np.sqrt(found[CORE, CORE] * np.diagonal(found)[1:CORE])
    assert (together == 0).all() if core_w is None else (together > 0).all()
    assert found[0, CORE] == 0, "idle watts err by themselves"


def test_a_coefficient_that_a_fit_found_to_be_zero_can_still_be_learned(tmp_path: Path) -> None:
    prior = from_profile(spec(), profile_file(tmp_path, call_j=0.0))
    assert prior.variants["s0", "v0-0"].call_j == pytest.approx(0.02 * 2e-5 * 100)


def test_a_profile_of_another_cascade_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match="joules: lacks s1/v1-1"):
        from_profile(spec(), profile_file(tmp_path, skip="v1-1"))


@pytest.mark.parametrize("change", [{"call_j": -1.0}, {"item_j": float("nan")}, {"quality": "guessed"}])
def test_a_profile_with_impossible_figures_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    with pytest.raises(FixFile, match="joules"):
        from_profile(spec(), profile_file(tmp_path, **change))


def test_a_profile_from_before_joules_were_in_it_is_refused_and_a_missing_one_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old.json"
    old.write_text('{"timings": [], "advice": []}', encoding="utf-8")
    with pytest.raises(FixFile, match="run it again"):
        from_profile(spec(), old)
    with pytest.raises(FixFile, match="no such file"):
        from_profile(spec(), tmp_path / "none.json")


@pytest.mark.parametrize("joules", [(0.0, 1.0), (1.0, -1.0), (float("inf"), 1.0)])
def test_priors_that_could_never_grow_are_refused(joules: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        VariantJoules(*joules)


def test_what_variants_share_correlates_their_errors() -> None:
    variants = {("s", "a"): VariantJoules(1.0, 1.0), ("s", "b"): VariantJoules(1.0, 1.0)}
    found = Prior(variants, Spread(common=2.0, variant=1.0, part=0.5), Quality.ASSUMED, "").covariance()
    expected = [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 5.25, 4.0, 5.0, 4.0],
        [0.0, 4.0, 5.25, 4.0, 5.0],
        [0.0, 5.0, 4.0, 5.25, 4.0],
        [0.0, 4.0, 5.0, 4.0, 5.25],
    ]
    np.testing.assert_allclose(found, expected)
