"""What dashboards show, as data: panels with their queries. All of them sum over Ray's workers."""

from dataclasses import dataclass
from typing import Literal

from cluster.monitoring.promql import IN_GRAFANA as Q

Kind = Literal["timeseries", "stat", "heatmap"]


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what each of its series is called; `{{label}}` is filled in."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    unit     as Grafana names units
    about    for whoever reads it
    stacked  whether its series are parts of a whole
    core     whether Ray's own Core dashboard shows it, too
    """

    title: str
    unit: str
    about: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    stacked: bool = False
    core: bool = False


def _ledger(metric: str, factor: str = "") -> tuple[Query, ...]:
    known = {"day": "today (UTC)", "all": "to date"}
    return tuple(Query(Q.newest(metric, period=period) + factor, legend) for period, legend in known.items())


def _quantile(share: float) -> Query:
    buckets = Q.rate("request_energy_joules", "le", "bucket")
    return Query(f"histogram_quantile({share:g}, {buckets})", f"{100 * share:g}% below")


_SPEND = Q.newest("constraint_spend", "constraint")
_LIMIT = Q.newest("constraint_limit", "constraint")
_MARGINAL = Q.rate("attributed_energy_joules_total", part="marginal")
_OR_NONE = ' or label_replace(vector(0), "{label}", "none", "", "")'

POWER = (
    Panel(
        "Power by host",
        "watt",
        "Mean watts of the last window, all devices of a host together.",
        (Query(f"sum by (host) ({Q.newest('device_power_watts', 'device, host')})", "{{host}}"),),
        stacked=True,
        core=True,
    ),
    Panel(
        "Power by device",
        "watt",
        "Mean watts of the last window: packages, memory, GPUs, or an estimate of the host.",
        (Query(Q.newest("device_power_watts", "device"), "{{device}}"),),
    ),
    Panel(
        "Energy",
        "kwatth",
        "From the ledger: it outlives restarts.",
        _ledger("ledger_energy_joules", " / 3.6e6"),
        kind="stat",
        core=True,
    ),
    Panel(
        "Emissions (CO2e)",
        "massg",
        "From the ledger, by PUE and the grid's intensity when the joules were drawn.",
        _ledger("ledger_emissions_grams"),
        kind="stat",
        core=True,
    ),
    Panel(
        "Where the joules go",
        "watt",
        "Variants at work (marginal), machines at rest (idle), and what nothing has caused.",
        (
            Query(Q.rate("attributed_energy_joules_total", "stage, variant, part"), "{{stage}} {{variant}} {{part}}"),
            Query(Q.rate("unattributed_energy_joules_total"), "unattributed"),
        ),
        stacked=True,
    ),
    Panel(
        "How the joules are known",
        "watt",
        "Measured by a meter, modelled, or assumed; by device. Anything but measured is an estimate.",
        (Query(Q.rate("device_energy_joules_total", "device, source, quality"), "{{quality}} {{source}} {{device}}"),),
        stacked=True,
        core=True,
    ),
    Panel(
        "Grid intensity",
        "none",
        "Grams of CO2e of a kWh, and times PUE: what a kWh of the machines costs.",
        (
            Query(Q.newest("grid_intensity_grams_per_kilowatt_hour", "zone"), "{{zone}} g/kWh"),
            Query(
                f"{Q.newest('grid_intensity_grams_per_kilowatt_hour', 'zone')} * on () group_left ()"
                f" {Q.newest('pue_ratio')}",
                "{{zone}} with PUE g/kWh",
            ),
        ),
    ),
    Panel(
        "Events of meters",
        "short",
        "Wraps, resets and gaps of devices' counters.",
        (
            Query(
                Q.grown("meter_events_total", "device, event") + _OR_NONE.format(label="device"), "{{device}} {{event}}"
            ),
        ),
    ),
)
LIMITS = (
    Panel(
        "Spend by limit",
        "percentunit",
        "Spend of the last window over what it was allowed; over 100% exceeds it.",
        (Query(f"{_SPEND} / {_LIMIT}", "{{constraint}}"),),
        core=True,
    ),
    Panel(
        "Prices",
        "none",
        "Predicted reward per unit of the resource (J, g, s, FLOPs): how dear computation is made to hold the limit.",
        (Query(Q.newest("price", "constraint"), "{{constraint}}"),),
        core=True,
    ),
    Panel(
        "Limits and spend",
        "short",
        "In the base unit of each resource (J, g, s, FLOPs) per second.",
        (Query(_LIMIT, "{{constraint}} limit"), Query(_SPEND, "{{constraint}} spend")),
    ),
    Panel(
        "Limits that can be held",
        "bool_yes_no",
        "No: not even the cheapest chains keep it.",
        (Query(Q.newest("constraint_reachable", "constraint", "min"), "{{constraint}}"),),
        kind="stat",
    ),
)
REQUESTS = (
    Panel(
        "Requests by chain",
        "reqps",
        "Requests answered a second, by the chain that ran; chains with few of them together as other.",
        (Query(Q.rate("decisions_total", "chain"), "{{chain}}"),),
        stacked=True,
        core=True,
    ),
    Panel(
        "Joules of a request",
        "joule",
        "By the energy model, without idle watts. Quantiles of an even share of the requests; the mean is of all.",
        (
            _quantile(0.5),
            _quantile(0.95),
            _quantile(0.99),
            Query(f"{_MARGINAL} / {Q.rate('decisions_total')}", "mean"),
        ),
        core=True,
    ),
    Panel(
        "Joules of requests",
        "joule",
        "How many requests took how many joules.",
        (Query(Q.rate("request_energy_joules", "le", "bucket"), "{{le}}"),),
        kind="heatmap",
    ),
    Panel(
        "Reward",
        "short",
        "Predicted reward of a decided request; and what was realised over what was predicted, once feedback has come.",
        (
            Query(f"{Q.rate('predicted_reward_total')} / {Q.rate('decisions_total')}", "predicted a request"),
            Query(Q.newest("reward_realised_ratio"), "realised over predicted"),
        ),
        core=True,
    ),
    Panel(
        "Degraded requests",
        "reqps",
        "Answered less well than decided, or not at all; by reason.",
        (Query(Q.rate("degraded_total", "reason") + _OR_NONE.format(label="reason"), "{{reason}}"),),
        stacked=True,
        core=True,
    ),
    Panel(
        "Feedback",
        "reqps",
        "Joined to a request, or repeated, late or unknown.",
        (Query(Q.rate("feedback_total", "outcome"), "{{outcome}}"),),
    ),
)
ACCOUNT = (
    Panel(
        "Saved against the holdback",
        "joule",
        "Joules saved so far against users on the static chain: the estimate, and where the truth lies.",
        (Query(Q.newest("savings_joules", "bound"), "{{bound}}"),),
        core=True,
    ),
    Panel(
        "Health",
        "bool_yes_no",
        "Whether ledger and log are written, rewards are as predicted, and policies are fresh.",
        (
            Query(Q.newest("ledger_ok", how="min"), "ledger"),
            Query(Q.newest("log_ok", how="min"), "log"),
            Query("1 - " + Q.newest("reward_drift_alarm"), "rewards as predicted"),
            Query("1 - " + Q.newest("policy_stale"), "policies fresh"),
        ),
        kind="stat",
    ),
    Panel(
        "Windows priced",
        "short",
        "By the controller, a second. None: it is gone.",
        (Query(Q.rate("control_windows_total"), "windows a second"),),
    ),
    Panel(
        "Log of decisions",
        "short",
        "Rows written and dropped a second.",
        (
            Query(Q.rate("log_rows_total", "table"), "{{table}}"),
            Query(Q.rate("log_dropped_rows_total", "table") + _OR_NONE.format(label="table"), "dropped: {{table}}"),
        ),
    ),
)
ROWS = (
    ("Power", POWER),
    ("Limits and prices", LIMITS),
    ("Requests", REQUESTS),
    ("Savings and health", ACCOUNT),
)
