"""Every metric: its name, type, labels and meaning. Ray adds the prefix `ray_` and labels of its own.

Base units only. No request or user ids as labels. The worker process stays a label of each, so queries sum over it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal, Protocol

import numpy as np

from allocator.choice import Ints

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric. `about` says in one line what it is, units included.

    bounds  of a histogram's buckets, each inclusive; one more bucket holds all above the last
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    about: str
    bounds: tuple[float, ...] = ()


ENERGY = "greenflow_request_energy_joules"


METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            "greenflow_device_energy_joules_total",
            "counter",
            ("device", "host", "kind", "source", "quality"),
            "Joules that a device drew, as billed",
        ),
        Metric(
            "greenflow_device_power_watts", "gauge", ("device", "host"), "Mean watts of a device in the last window"
        ),
        Metric(
            "greenflow_attributed_energy_joules_total",
            "counter",
            ("stage", "variant", "part"),
            "Joules put down to a variant (part marginal), or to machines at rest (part idle)",
        ),
        Metric("greenflow_unattributed_energy_joules_total", "counter", (), "Joules that no variant has caused"),
        Metric("greenflow_emissions_grams_total", "counter", ("quality",), "Grams of CO2e, by PUE and the grid"),
        Metric(
            "greenflow_grid_intensity_grams_per_kilowatt_hour",
            "gauge",
            ("zone",),
            "Grams of CO2e of a kWh from the grid",
        ),
        Metric("greenflow_pue_ratio", "gauge", (), "Joules that the building draws per joule of its machines"),
        Metric(
            "greenflow_constraint_limit",
            "gauge",
            ("constraint",),
            "What the next window may spend, in the base unit of the constraint's resource (J, g, s, FLOPs) per second;"
            " not there without a limit",
        ),
        Metric("greenflow_constraint_spend", "gauge", ("constraint",), "Spend of the last window, in the same unit"),
        Metric("greenflow_constraint_reachable", "gauge", ("constraint",), "0 while no choice of chains can hold it"),
        Metric(
            "greenflow_degraded_total",
            "counter",
            ("reason",),
            "Requests that were answered less well than decided, or not at all",
        ),
        Metric("greenflow_price", "gauge", ("constraint",), "Predicted reward per unit of the constraint's resource"),
        Metric("greenflow_meter_events_total", "counter", ("device", "event"), "What happened to a device's counter"),
        Metric("greenflow_ledger_errors_total", "counter", (), "Windows that could not be written when they ended"),
        Metric("greenflow_ledger_ok", "gauge", (), "1 while the ledger can be written, else 0"),
        Metric(
            "greenflow_ledger_energy_joules",
            "gauge",
            ("period",),
            "Joules of all devices in the ledger, of the running day (UTC; period day) and of all days (period all)",
        ),
        Metric(
            "greenflow_ledger_emissions_grams",
            "gauge",
            ("period",),
            "Grams of CO2e in the ledger likewise; joules of which nobody knew the intensity count nothing",
        ),
        Metric(
            "greenflow_decisions_total",
            "counter",
            ("chain",),
            "Requests that were answered, by the chain that ran; chains with few of them together as other",
        ),
        Metric(
            ENERGY,
            "histogram",
            (),
            "Joules of a request by the energy model, without idle. Of more than 200 in a window an even share is told;"
            " the sum is Ray's guess from the middles of the buckets",
            (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0),
        ),
        Metric("greenflow_control_windows_total", "counter", (), "Windows that the controller has priced"),
        Metric("greenflow_policy_stale", "gauge", (), "1 while a replica's policy is older than allowed, else 0"),
        Metric("greenflow_predicted_reward_total", "counter", (), "Predicted reward of requests that a policy decided"),
        Metric(
            "greenflow_savings_joules",
            "gauge",
            ("bound",),
            "Joules saved against the static chain so far: the estimate, and the low and the high bound of its"
            " confidence sequence",
        ),
        Metric("greenflow_feedback_total", "counter", ("outcome",), "Feedback: joined, repeated, late or unknown"),
        Metric("greenflow_reward_realised_ratio", "gauge", (), "Realised over predicted reward of the last hours"),
        Metric("greenflow_reward_drift_alarm", "gauge", (), "1 while rewards are not what is predicted, else 0"),
        Metric("greenflow_log_rows_total", "counter", ("table",), "Rows written into the log of decisions"),
        Metric("greenflow_log_dropped_rows_total", "counter", ("table",), "Rows that the log could not take"),
        Metric("greenflow_log_ok", "gauge", (), "1 while the log of decisions can be written, or is off; else 0"),
    )
}
ENERGY_BOUNDS = np.array(METRICS[ENERGY].bounds)
NO_ENERGIES: Ints = np.zeros(len(ENERGY_BOUNDS) + 1, np.int64)
"""Counts by bucket, before the first."""


class Metrics(Protocol):
    """Where figures go. A name that is not in METRICS, or labels that are not its own, raise KeyError or ValueError."""

    def inc(self, name: str, by: float, labels: Mapping[str, str]) -> None:
        """Add to a counter; `by` >= 0."""
        ...

    def set(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """Set a gauge. One that is not set again disappears after two to three of Ray's report intervals (by default of
        ten seconds). Ray shows neither infinity nor NaN."""
        ...

    def observe(self, name: str, counts: Ints, labels: Mapping[str, str]) -> None:
        """Add to a histogram so many observations in each of its buckets, (len(bounds) + 1,), each >= 0."""
        ...


def checked(name: str, kind: Kind, labels: Mapping[str, str]) -> Metric:
    """The metric. Raises KeyError for an unknown one, ValueError for another kind or other labels."""
    metric = METRICS[name]
    if metric.kind != kind or set(labels) != set(metric.labels):
        raise ValueError(f"{name} is a {metric.kind} with labels {metric.labels}, not a {kind} with {tuple(labels)}")
    return metric


def checked_counts(name: str, counts: Ints, labels: Mapping[str, str]) -> Metric:
    """The histogram. Raises as `checked`, and ValueError for counts that are not one for each bucket, or negative."""
    metric = checked(name, "histogram", labels)
    if len(counts) != len(metric.bounds) + 1 or (np.asarray(counts) < 0).any():
        raise ValueError(f"{name}: needs {len(metric.bounds) + 1} counts of zero or more, got {list(counts)}")
    return metric


class NullMetrics:
    """Keeps nothing."""

    def inc(self, name: str, by: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.inc`."""
        checked(name, "counter", labels)

    def set(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.set`."""
        checked(name, "gauge", labels)

    def observe(self, name: str, counts: Ints, labels: Mapping[str, str]) -> None:
        """As `Metrics.observe`."""
        checked_counts(name, counts, labels)


class RecordedMetrics:
    """Keeps what Prometheus would show: `values` by name and labels, and of histograms `counts` by bucket."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        self.counts: dict[tuple[str, tuple[tuple[str, str], ...]], Ints] = {}

    def inc(self, name: str, by: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.inc`."""
        checked(name, "counter", labels)
        if by < 0:
            raise ValueError(f"{name}: a counter never goes down, got {by}")
        key = (name, tuple(sorted(labels.items())))
        self.values[key] = self.values.get(key, 0.0) + by

    def set(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.set`."""
        checked(name, "gauge", labels)
        if not isfinite(value):
            raise ValueError(f"{name}: Ray does not show {value}")
        self.values[name, tuple(sorted(labels.items()))] = value

    def observe(self, name: str, counts: Ints, labels: Mapping[str, str]) -> None:
        """As `Metrics.observe`."""
        checked_counts(name, counts, labels)
        key = (name, tuple(sorted(labels.items())))
        self.counts[key] = self.counts.get(key, np.zeros(len(counts), np.int64)) + counts
