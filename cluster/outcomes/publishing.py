"""What the account of outcomes says in metrics. No Ray here."""

from collections.abc import Mapping
from math import isfinite

from allocator.savings import estimate
from cluster.metrics import Metrics
from cluster.outcomes.account import OutcomesAccount
from cluster.outcomes.log_tables import TABLES


class OutcomesMetrics:
    """Counters rise by what is new since the last time; gauges are set in every step. Used from one event loop."""

    def __init__(self, metrics: Metrics, account: OutcomesAccount) -> None:
        self._metrics, self._account = metrics, account
        self._told: dict[tuple[str, str], float] = {}

    def tell(self, now_s: float) -> None:
        """Say how it stands."""
        account = self._account
        counts = account.joiner.counts
        for outcome in ("joined", "repeated", "late", "unknown"):
            self._rise("greenflow_feedback_total", {"outcome": outcome}, getattr(counts, outcome))
        self._rise("greenflow_predicted_reward_total", {}, account.predicted)
        log = account.log.counts
        for table in TABLES:
            self._rise("greenflow_log_rows_total", {"table": table}, log.written[table])
            self._rise("greenflow_log_dropped_rows_total", {"table": table}, log.dropped[table])
        self._metrics.set("greenflow_log_ok", float(log.error is None), {})
        self._savings()
        if account.hears:
            self._drift(now_s)

    def _savings(self) -> None:
        total = estimate(self._account.sums).energy_j.total
        if total is not None:
            bounds = {"estimate": total.value, "low": total.sequential.low, "high": total.sequential.high}
            for bound, value in bounds.items():
                self._metrics.set("greenflow_savings_joules", value, {"bound": bound})

    def _drift(self, now_s: float) -> None:
        view = self._account.drift.view(now_s)
        self._metrics.set("greenflow_reward_drift_alarm", float(view.alarm is not None), {})
        if isfinite(view.calibration.ratio):
            self._metrics.set("greenflow_reward_realised_ratio", view.calibration.ratio, {})

    def _rise(self, name: str, labels: Mapping[str, str], value: float) -> None:
        key = (name, "".join(labels.values()))
        if value > (before := self._told.get(key, 0.0)):
            self._metrics.inc(name, value - before, labels)
            self._told[key] = value
