"""Metrics follow Prometheus' conventions, and counters rise by what is in the ledger and nothing else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.emissions import Kind
from allocator.joules import DeviceJoules, PoolAccount, Quality, Share, WindowAccount
from allocator.request_joules import Rates
from cluster.accountant import Closed
from cluster.accounts import Books
from cluster.carbon.base import Intensity
from cluster.metrics import ENERGY, METRICS, NO_ENERGIES, Metric, NullMetrics, RecordedMetrics
from cluster.metrics_ray import inside, thinned
from cluster.publishing import OTHER, ControlMetrics, publish
from cluster.snapshot import Standing

DEVICE = DeviceJoules(
    "vm/package-0", "vm/cpu", "node", "vm", "package", "rapl", Quality.MEASURED, 90.0, 1.5, 1.0, "boot"
)
ACCOUNT = WindowAccount(
    number=7,
    end_s=100.0,
    window_s=1.5,
    requests=4,
    items=40,
    policy_version=1,
    devices=(DEVICE,),
    shares=(Share("rank", "din", "vm/cpu", 1, 80, 30.0, Quality.MEASURED),),
    pools=(PoolAccount("vm/cpu", 90.0, 50.0, 10.0, Quality.MEASURED),),
    intensity_g_per_kwh=360.0,
    intensity_quality=Quality.MODELLED,
    pue=1.5,
    pue_quality=Quality.MODELLED,
)
GRID = Intensity(360.0, 0.0, 0.0, Kind.AVERAGE, "GB", "uk", Quality.MODELLED, stale=False)
CLOSED = Closed(
    end_s=100.0,
    devices=(DEVICE,),
    refusals=(),
    rates=Rates({}, None, Quality.MODELLED, Quality.MODELLED),
    written=(ACCOUNT,),
    events={("vm/package-0", "wrap"): 2},
    intensity=GRID,
    pue=1.5,
)
STANDING = Standing("flops", "flops", "FLOP/s", 1e6, 5e5, 0.25)
CHAINS = ("a", "b", "c")


def books(
    degraded: Mapping[str, int] | None = None, energies: np.ndarray = NO_ENERGIES, billed: Sequence[int] = (0, 0, 0)
) -> Books:
    return Books(np.array(billed, np.int64), degraded=degraded or {}, energies=energies)


def of(metrics: RecordedMetrics, name: str, **labels: str) -> float:
    return metrics.values[name, tuple(sorted(labels.items()))]


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_names_labels_and_types_are_prometheus_s(metric: Metric) -> None:
    assert re.fullmatch(r"greenflow(_[a-z]+)+", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert not any(word in metric.name for word in ("_kwh", "_kilowatts", "_ms", "_percent"))
    assert not {"user", "request", "user_id", "request_id"} & set(metric.labels)
    assert (metric.kind == "histogram") == bool(metric.bounds)
    assert all(0 < low < high for low, high in zip(metric.bounds, metric.bounds[1:], strict=False))


def test_a_window_says_in_metrics_what_the_ledger_has() -> None:
    metrics = RecordedMetrics()
    publish(metrics, CLOSED)
    labels = {"device": "vm/package-0", "host": "vm", "kind": "package", "source": "rapl", "quality": "measured"}
    assert of(metrics, "greenflow_device_energy_joules_total", **labels) == 90.0
    assert of(metrics, "greenflow_device_power_watts", device="vm/package-0", host="vm") == 60.0
    name = "greenflow_attributed_energy_joules_total"
    assert of(metrics, name, stage="rank", variant="din", part="marginal") == 30.0
    assert of(metrics, name, stage="", variant="", part="idle") == 50.0
    assert of(metrics, "greenflow_unattributed_energy_joules_total") == 10.0
    assert of(metrics, "greenflow_emissions_grams_total", quality="modelled") == pytest.approx(90 / 3.6e6 * 1.5 * 360)
    assert of(metrics, "greenflow_grid_intensity_grams_per_kilowatt_hour", zone="GB") == 360.0
    assert of(metrics, "greenflow_pue_ratio") == 1.5
    assert of(metrics, "greenflow_meter_events_total", device="vm/package-0", event="wrap") == 2.0
    assert of(metrics, "greenflow_ledger_ok") == 1.0


def test_a_tick_says_how_constraints_stand() -> None:
    metrics = RecordedMetrics()
    ControlMetrics(metrics, CHAINS).tell((STANDING,), books())
    assert of(metrics, "greenflow_constraint_limit", constraint="flops") == 1e6
    assert of(metrics, "greenflow_constraint_spend", constraint="flops") == 5e5
    assert of(metrics, "greenflow_price", constraint="flops") == 0.25
    assert of(metrics, "greenflow_constraint_reachable", constraint="flops") == 1.0


def test_what_the_ledger_lacks_is_not_counted_until_it_has_it() -> None:
    metrics = RecordedMetrics()
    publish(metrics, replace(CLOSED, written=(), ledger_error="disk full"))
    assert of(metrics, "greenflow_ledger_ok") == 0.0
    assert of(metrics, "greenflow_ledger_errors_total") == 1.0
    assert not any(name == "greenflow_device_energy_joules_total" for name, _ in metrics.values)


def test_degraded_requests_are_counted_by_what_is_new() -> None:
    metrics = RecordedMetrics()
    control = ControlMetrics(metrics, CHAINS)
    for degraded in ({"late": 3}, {"late": 3}, {"late": 5, "full": 1}):
        control.tell((), books(degraded))
    assert of(metrics, "greenflow_degraded_total", reason="late") == 5.0
    assert of(metrics, "greenflow_degraded_total", reason="full") == 1.0


def test_answered_requests_are_counted_by_chain_and_by_what_is_new() -> None:
    metrics = RecordedMetrics()
    control = ControlMetrics(metrics, CHAINS)
    for billed in ((0, 0, 0), (995, 5, 0), (995, 5, 0), (1990, 8, 2)):
        control.tell((), books(billed=billed))
    told = {labels: value for (name, labels), value in metrics.values.items() if name == "greenflow_decisions_total"}
    assert told == {(("chain", "a"),): 1990.0, (("chain", OTHER),): 10.0}


@given(ticks=st.lists(st.lists(st.integers(0, 300), min_size=3, max_size=3), max_size=10))
def test_each_answered_request_is_counted_once_whatever_its_chain_is_called_meanwhile(ticks: list[list[int]]) -> None:
    metrics, billed = RecordedMetrics(), np.zeros(3, np.int64)
    control = ControlMetrics(metrics, CHAINS)
    for new in ticks:
        billed = billed + new
        control.tell((), books(billed=billed.tolist()))
    told = [value for (name, _), value in metrics.values.items() if name == "greenflow_decisions_total"]
    assert sum(told) == billed.sum()


def test_without_a_limit_there_is_no_limit_to_show() -> None:
    metrics = RecordedMetrics()
    ControlMetrics(metrics, CHAINS).tell((replace(STANDING, limit_per_s=float("inf")),), books())
    assert not any(name == "greenflow_constraint_limit" for name, _ in metrics.values)


def test_gauges_of_a_constraint_that_was_cleared_say_so_and_are_then_left_alone() -> None:
    metrics = RecordedMetrics()
    control, other = ControlMetrics(metrics, CHAINS), replace(STANDING, name="capacity")
    control.tell((replace(STANDING, reachable=False), other), books())
    metrics.values.clear()
    control.tell((other,), books())
    assert of(metrics, "greenflow_constraint_spend", constraint="flops") == 0.0
    assert of(metrics, "greenflow_price", constraint="flops") == 0.0
    assert of(metrics, "greenflow_constraint_reachable", constraint="flops") == 1.0
    assert of(metrics, "greenflow_constraint_limit", constraint="capacity") == 1e6
    assert ("greenflow_constraint_limit", (("constraint", "flops"),)) not in metrics.values
    metrics.values.clear()
    control.tell((other,), books())
    told = {labels for name, labels in metrics.values if name != "greenflow_control_windows_total"}
    assert told == {(("constraint", "capacity"),)}


@pytest.mark.parametrize("metrics", [NullMetrics(), RecordedMetrics()])
def test_a_metric_that_is_not_in_the_table_is_refused(metrics: NullMetrics | RecordedMetrics) -> None:
    with pytest.raises(KeyError):
        metrics.inc("greenflow_unknown_total", 1.0, {})
    with pytest.raises(ValueError, match="is a gauge"):
        metrics.inc("greenflow_pue_ratio", 1.0, {})
    with pytest.raises(ValueError, match="labels"):
        metrics.set("greenflow_price", 1.0, {"name": "flops"})
    with pytest.raises(ValueError, match="is a counter"):
        metrics.observe("greenflow_ledger_errors_total", NO_ENERGIES, {})
    with pytest.raises(ValueError, match="17 counts of zero or more"):
        metrics.observe(ENERGY, NO_ENERGIES[1:], {})
    with pytest.raises(ValueError, match="17 counts of zero or more"):
        metrics.observe(ENERGY, NO_ENERGIES - 1, {})


def test_a_counter_never_goes_down() -> None:
    with pytest.raises(ValueError, match="never goes down"):
        RecordedMetrics().inc("greenflow_ledger_errors_total", -1.0, {})


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_what_ray_would_not_show_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="does not show"):
        RecordedMetrics().set("greenflow_pue_ratio", value, {})


def test_joules_of_requests_are_observed_by_what_is_new() -> None:
    metrics = RecordedMetrics()
    control, counts = ControlMetrics(metrics, CHAINS), np.arange(len(NO_ENERGIES))
    for energies in (counts, counts, 2 * counts):
        control.tell((), books(energies=energies))
    assert metrics.counts[ENERGY, ()].tolist() == (2 * counts).tolist()


@given(windows=st.lists(st.lists(st.integers(0, 2000), min_size=4, max_size=4), max_size=20), most=st.integers(1, 500))
def test_of_too_many_observations_an_even_share_is_told_and_in_the_long_run_of_each_bucket(
    windows: list[list[int]], most: int
) -> None:
    told, share, rest = np.zeros(4), np.zeros(4), np.zeros(4)
    for counts in windows:
        now, rest = thinned(np.array(counts), most, rest)
        assert 0 <= now.sum() <= min(sum(counts), most) + 4
        told += now
        share += np.array(counts) * min(1.0, most / max(1, sum(counts)))
    assert np.abs(told - share).max() <= 1.0 + 1e-6


@pytest.mark.parametrize("metric", [m for m in METRICS.values() if m.bounds], ids=lambda metric: metric.name)
def test_each_bucket_has_a_value_that_lies_in_it(metric: Metric) -> None:
    values = inside(metric.bounds)
    assert np.searchsorted(metric.bounds, values).tolist() == list(range(len(metric.bounds) + 1))
