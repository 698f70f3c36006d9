"""Prometheus' recording rules and alerts, as data."""

from dataclasses import dataclass
from typing import Any, Literal

import yaml

from cluster.monitoring.promql import PLAIN

Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, slots=True)
class Recording:
    """A figure that Prometheus works out beforehand and keeps under `name`."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What somebody should hear of.

    holds  how long `expr` must have given something, as Prometheus writes times
    what   what is the matter, and `remedy` what to do about it; both for people, with Prometheus' templates
    """

    name: str
    expr: str
    holds: str
    severity: Severity
    what: str
    remedy: str


ESTIMATE = PLAIN.grown("device_energy_joules_total", "host", "10m", source="estimate")
_SPEND, _LIMIT = "constraint:greenflow_spend:max", "constraint:greenflow_limit:max"
_PRICE = "constraint:greenflow_price:max"
_DEGRADED = PLAIN.rate("degraded_total")
"""Who got no answer at all is among these and no decision; so a share of the degraded alone where they are more."""

RECORDINGS = (
    Recording("device:greenflow_power_watts:max", PLAIN.newest("device_power_watts", "device, host")),
    Recording("host:greenflow_power_watts:sum", "sum by (host) (device:greenflow_power_watts:max)"),
    Recording(
        "period:greenflow_energy_kilowatt_hours:max", PLAIN.newest("ledger_energy_joules", "period") + " / 3.6e6"
    ),
    Recording("period:greenflow_emissions_grams:max", PLAIN.newest("ledger_emissions_grams", "period")),
    Recording(_PRICE, PLAIN.newest("price", "constraint")),
    Recording(_SPEND, PLAIN.newest("constraint_spend", "constraint")),
    Recording(_LIMIT, PLAIN.newest("constraint_limit", "constraint")),
    Recording("constraint:greenflow_reachable:min", PLAIN.newest("constraint_reachable", "constraint", "min")),
    Recording("chain:greenflow_decisions:rate5m", PLAIN.rate("decisions_total", "chain")),
    Recording("greenflow:decisions:rate5m", "sum(chain:greenflow_decisions:rate5m)"),
    Recording(
        "chain:greenflow_decisions:share5m",
        "chain:greenflow_decisions:rate5m / ignoring (chain) group_left () greenflow:decisions:rate5m",
    ),
    Recording("greenflow:degraded:share5m", f"{_DEGRADED} / (greenflow:decisions:rate5m > {_DEGRADED} or {_DEGRADED})"),
    Recording("bound:greenflow_savings_joules:max", PLAIN.newest("savings_joules", "bound")),
)

ALERTS = (
    Alert(
        "GreenflowLimitExceeded",
        f"avg_over_time({_SPEND}[5m]) > 1.05 * avg_over_time({_LIMIT}[5m])",
        "5m",
        "warning",
        "The limit {{ $labels.constraint }} has been exceeded by more than 5% for ten minutes.",
        "See whether it is reachable and how its price moves: greenflow budget show.",
    ),
    Alert(
        "GreenflowLimitUnreachable",
        "avg_over_time(constraint:greenflow_reachable:min[5m]) < 0.5",
        "5m",
        "warning",
        "No choice of chains can hold the limit {{ $labels.constraint }}.",
        "Machines at rest, or the load alone, exceed it: raise it, take machines out, or shed load.",
    ),
    Alert(
        "GreenflowPriceSaturated",
        f"{_PRICE} > 0 and {_PRICE} >= 0.9 * max_over_time({_PRICE}[30m])"
        f" and avg_over_time({_SPEND}[10m]) > 1.05 * avg_over_time({_LIMIT}[10m])",
        "10m",
        "warning",
        "The price of {{ $labels.constraint }} is at its highest, and the limit is exceeded all the same.",
        "Chains cannot get shorter. Raise the limit, or add machines.",
    ),
    Alert(
        "GreenflowSensorLost",
        PLAIN.grown("device_energy_joules_total", "device", "1h", quality="measured")
        + " > 0 unless "
        + PLAIN.grown("device_energy_joules_total", "device", "5m", quality="measured")
        + " > 0",
        "2m",
        "warning",
        "{{ $labels.device }} was measured within the last hour, and is not any more.",
        "greenflow doctor tells which meter is not read, why, and the remedy. Ignore it where the machine has left.",
    ),
    Alert(
        "GreenflowEstimateInUse",
        f"{ESTIMATE} > 0",
        "5m",
        "info",
        "Joules of {{ $labels.host }} are estimated from processor time; no meter counts them.",
        "greenflow doctor tells which meters there are, and how to open them.",
    ),
    Alert(
        "GreenflowLedgerNotWritten",
        PLAIN.newest("ledger_ok", how="min") + " == 0",
        "1m",
        "critical",
        "The ledger cannot be written. Counters hold what it lacks for as long as the controller lives.",
        "GET /v1/power says why (ledger_error): a full disk, rights, or another writer.",
    ),
    Alert(
        "GreenflowLogNotWritten",
        PLAIN.newest("log_ok", how="min") + " == 0",
        "2m",
        "warning",
        "The log of decisions cannot be written.",
        "Look at the disk and the rights of the folder log.folder.",
    ),
    Alert(
        "GreenflowLogDropsRows",
        PLAIN.grown("log_dropped_rows_total", "table", "10m") + " > 0",
        "0m",
        "warning",
        "The log of decisions dropped rows of its table {{ $labels.table }}.",
        "The disk is too slow or full; what was dropped is missing from what is trained on.",
    ),
    Alert(
        "GreenflowRewardDrift",
        PLAIN.newest("reward_drift_alarm") + " == 1",
        "5m",
        "warning",
        "Rewards are not what the model predicts.",
        "greenflow train-reward --log makes a candidate of what was logged; greenflow promote puts it in.",
    ),
    Alert(
        "GreenflowDegradedShareHigh",
        "greenflow:degraded:share5m > 0.05",
        "5m",
        "warning",
        "{{ $value | humanizePercentage }} of the requests are answered less well than decided, or not at all.",
        "greenflow_degraded_total tells the reasons; greenflow status which deployments are unhealthy.",
    ),
    Alert(
        "GreenflowPolicyStale",
        "sum(" + PLAIN.of("policy_stale") + ") > 0",
        "1m",
        "warning",
        "{{ $value }} replicas decide by a policy that is older than allowed: prices hold, but follow nothing.",
        "See why the controller does not answer: greenflow status, and its logs in Ray's dashboard.",
    ),
    Alert(
        "GreenflowControllerGone",
        f"sum(rate({PLAIN.of('control_windows_total')}[2m])) == 0 or absent({PLAIN.of('control_windows_total')})",
        "1m",
        "critical",
        "The controller prices no windows, or nothing of it is heard.",
        "See whether greenflow is up: greenflow status.",
    ),
    Alert(
        "GreenflowNodeNotScraped",
        'up{job="ray"} == 0',
        "2m",
        "warning",
        "Prometheus does not reach the metrics of {{ $labels.instance }}: what its workers count is not seen.",
        "See whether the node lives, and whether its metrics port is open to Prometheus.",
    ),
)


def rules_yaml() -> str:
    """The file of rules, for Prometheus."""
    recorded = [{"record": one.name, "expr": one.expr} for one in RECORDINGS]
    groups = [
        {"name": "greenflow-figures", "rules": recorded},
        {"name": "greenflow-alerts", "rules": [_alert(one) for one in ALERTS]},
    ]
    text: str = yaml.safe_dump({"groups": groups}, sort_keys=False, width=1000)
    return "# Made by `greenflow monitoring files`; cluster/monitoring/rules.py is where to change it.\n" + text


def _alert(one: Alert) -> dict[str, Any]:
    return {
        "alert": one.name,
        "expr": one.expr,
        "for": one.holds,
        "labels": {"severity": one.severity},
        "annotations": {"summary": one.what, "description": one.remedy},
    }
