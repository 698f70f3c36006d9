"""Limits as settings: what they are named, and which cannot be held."""

import pytest
from pydantic import ValidationError

from allocator.limits import Kind, Limit
from cluster.config import Settings
from cluster.limits.holdable import Holdable
from cluster.limits.quantities import ALIASES, example, read_quantity
from cluster.limits.settings import LimitSettings
from models.errors import FixSetup

GRID = {"g_per_kwh": 200}


def stated(**variables: str) -> tuple[Limit, ...]:
    named = {f"GREENFLOW_{name.upper()}": value for name, value in variables.items()}
    return Settings.from_environment({}, named).stated_limits


def test_nothing_is_limited_unless_somebody_says_so() -> None:
    assert stated() == ()


def test_every_limit_has_a_variable_and_a_name() -> None:
    limits = stated(
        limits_power_w="150",
        limits_energy_kwh_per_day="2.5",
        limits_carbon_g_per_h="40",
        limits_carbon_g_per_day="900",
        limits_compute_busy_s_per_s="1.5",
        limits_flops_per_s="2e9",
        carbon_g_per_kwh="200",
    )
    assert limits == (
        Limit("carbon-day", Kind.CARBON, 900, "g/day"),
        Limit("carbon-hour", Kind.CARBON, 40, "g/h"),
        Limit("compute", Kind.COMPUTE, 1.5, "busy_s/s"),
        Limit("energy", Kind.ENERGY, 2.5, "kWh/day"),
        Limit("flops", Kind.FLOPS, 2e9, "FLOP/s"),
        Limit("power", Kind.POWER, 150, "W"),
    )


def test_the_allocators_flops_are_the_same_limit() -> None:
    assert stated(allocator_flops_per_s="2e9") == stated(limits_flops_per_s="2e9")
    with pytest.raises(FixSetup, match=r"limits.*same limit as allocator\.flops_per_s: give one"):
        stated(allocator_flops_per_s="2e9", limits_flops_per_s="2e9")


@pytest.mark.parametrize("name", LimitSettings.model_fields)
@pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e30", "much", ""])
def test_a_limit_that_is_none_is_refused_by_its_variable(name: str, value: str) -> None:
    with pytest.raises(FixSetup, match=f"GREENFLOW_LIMITS_{name.upper()}"):
        stated(**{f"limits_{name}": value})


@pytest.mark.parametrize(
    ("limits", "others", "said"),
    [
        ({"power_w": 1}, {"energy": {"enabled": False}}, "power cannot be limited: joules are not accounted for"),
        ({"energy_kwh_per_day": 1}, {"energy": {"enabled": False}}, "energy cannot be limited: joules"),
        ({"carbon_g_per_h": 1}, {"energy": {"enabled": False}, "carbon": GRID}, "carbon cannot be limited: joules"),
        ({"carbon_g_per_h": 1}, {}, "carbon cannot be limited: nobody tells the grid's carbon intensity"),
        (
            {"compute_busy_s_per_s": 1},
            {"allocator": {"enabled": False}},
            "compute cannot be limited: there is no al",
        ),
    ],
)
def test_a_limit_that_could_not_be_held_is_refused_with_the_reason(
    limits: dict[str, float], others: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        Settings.model_validate({"limits": limits, **others})


def test_without_joules_computation_may_be_limited() -> None:
    settings = Settings.model_validate({"limits": {"flops_per_s": 1}, "energy": {"enabled": False}})
    assert settings.holdable == Holdable(joules=False, grams=False)
    assert settings.stated_limits == (Limit("flops", Kind.FLOPS, 1, "FLOP/s"),)


def test_of_two_wrong_groups_the_first_is_named() -> None:
    with pytest.raises(FixSetup, match="GREENFLOW_ENERGY_RETENTION_DAYS"):
        stated(energy_retention_days="0", limits_power_w="1")


@pytest.mark.parametrize("kind", Kind)
def test_every_unit_that_people_may_type_is_one_of_the_kinds(kind: Kind) -> None:
    for unit, (size, base) in ALIASES[kind].items():
        assert read_quantity(kind, f"2{unit}") == (2 * size, base)
        Limit("x", kind, 2 * size, base)
    Limit("x", kind, *read_quantity(kind, example(kind)))
