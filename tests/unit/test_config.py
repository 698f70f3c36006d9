"""Settings: defaults, the environment, overrides, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from cluster.config import AllocatorSettings, BatchSettings, Settings, ray_address
from models.errors import FixSetup


def test_nothing_set_gives_the_defaults() -> None:
    assert Settings.from_environment({}, {}) == Settings()


def test_the_environment_sets_fields_and_those_of_the_batch() -> None:
    settings = Settings.from_environment(
        {}, {"GREENFLOW_CPU_REPLICAS": "3", "GREENFLOW_PLACEMENT": "inline", "GREENFLOW_BATCH_WAIT_MS": "2.5"}
    )
    assert settings == Settings(cpu_replicas=3, placement="inline", batch=BatchSettings(wait_ms=2.5))


def test_an_override_beats_the_environment_and_none_overrides_nothing() -> None:
    environment = {"GREENFLOW_CPU_REPLICAS": "3", "GREENFLOW_BATCH_MAX_ROWS": "8", "GREENFLOW_STAGE_THREADS": "2"}
    settings = Settings.from_environment({"cpu_replicas": 5, "batch_max_rows": 16, "stage_threads": None}, environment)
    assert (settings.cpu_replicas, settings.batch.max_rows, settings.stage_threads) == (5, 16, 2)


def test_the_allocator_is_set_by_options_and_variables() -> None:
    environment = {"GREENFLOW_ALLOCATOR_FLOPS_PER_S": "2.5e9", "GREENFLOW_ALLOCATOR_ENABLED": "true"}
    settings = Settings.from_environment({"allocator_safe_chain": "a>b@1", "allocator_enabled": None}, environment)
    assert settings.allocator == AllocatorSettings(flops_per_s=2.5e9, enabled=True, safe_chain="a>b@1")
    assert Settings.from_environment({"allocator_enabled": False}, environment).allocator.enabled is False


def test_variables_of_others_are_left_alone() -> None:
    assert Settings.from_environment({}, {"PATH": "/bin", "CPU_REPLICAS": "9"}) == Settings()


@pytest.mark.parametrize(
    ("overrides", "environment", "named"),
    [
        ({}, {"GREENFLOW_CPU_REPLICAS": "many"}, "GREENFLOW_CPU_REPLICAS"),
        ({}, {"GREENFLOW_BATCH_MAX_ROWS": "0"}, "GREENFLOW_BATCH_MAX_ROWS"),
        ({}, {"GREENFLOW_BATCH_WAIT_MS": "nan"}, "GREENFLOW_BATCH_WAIT_MS"),
        ({"placement": "everywhere"}, {}, "placement"),
        ({"max_body_bytes": 1}, {}, "max_body_bytes"),
        ({"stage_timeout_s": 0}, {}, "stage_timeout_s"),
        ({"replicas": 2}, {}, "replicas"),
        ({}, {"GREENFLOW_ALLOCATOR_FLOPS_PER_S": "inf"}, "GREENFLOW_ALLOCATOR_FLOPS_PER_S"),
        ({"allocator_flops_per_s": 0}, {}, "allocator.flops_per_s"),
        ({"allocator_expected_rps": 0}, {}, "allocator.expected_rps"),
        ({"allocator_timeout_ms": -1}, {}, "allocator.timeout_ms"),
        ({"allocator_placement": "elsewhere"}, {}, "allocator.placement"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(
    overrides: dict[str, object], environment: dict[str, str], named: str
) -> None:
    with pytest.raises(FixSetup, match=named):
        Settings.from_environment(overrides, environment)


def test_the_cascade_folder_is_made_absolute() -> None:
    assert Settings(cascade=Path("some/cascade")).cascade == Path.cwd() / "some" / "cascade"
    assert Settings(cascade=Path("~/cascade")).cascade == Path.home() / "cascade"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().cpu_replicas = 2  # type: ignore[misc]


def test_the_ray_address_is_what_the_environment_says() -> None:
    assert ray_address({"RAY_ADDRESS": "10.0.0.1:6379"}) == "10.0.0.1:6379"
    assert ray_address({"RAY_ADDRESS": ""}) is None
    assert ray_address({}) is None


@pytest.mark.parametrize(
    ("misspelt", "meant"),
    [
        ("POWER_SENSOR", "POWER_SENSORS"),
        ("ALLOCATOR_FLOP_PER_S", "ALLOCATOR_FLOPS_PER_S"),
        ("CARBON_G_PER_KHW", "CARBON_G_PER_KWH"),
        ("INGRES_REPLICAS", "INGRESS_REPLICAS"),
    ],
)
def test_a_variable_that_is_nearly_a_setting_is_refused_with_the_one_that_was_meant(misspelt: str, meant: str) -> None:
    with pytest.raises(FixSetup, match=f"GREENFLOW_{misspelt}: .* did you mean GREENFLOW_{meant}"):
        Settings.from_environment({}, {f"GREENFLOW_{misspelt}": "1"})


@pytest.mark.parametrize(
    "name", ["SERVICE_HOST", "SERVICE_PORT", "PORT", "PORT_8000_TCP", "PORT_8000_TCP_ADDR", "KUAIRAND", "INSTANCE"]
)
def test_what_others_put_under_the_prefix_is_left_alone(name: str) -> None:
    assert Settings.from_environment({}, {f"GREENFLOW_{name}": "tcp://10.0.0.1:8000"}) == Settings()
