"""The account of outcomes of a served application under load: what is told of savings, and what crashes leave of it."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from asking import Asked, Asking
from live import kill, replicas_of
from metered_app import Metered, metered
from monitored import NEEDS_PROMETHEUS, Monitoring, listed, monitoring
from prometheus import RAYS_LABELS, Scrape, address, scraped, told, without_rays_labels
from pydantic import SecretStr
from rewarding import Rewarding
from waiting import until

from allocator.arms import ARMS, HOLDBACK, POLICY
from allocator.chains import ChainSpace
from cluster.app import CONTROLLER, OUTCOMES
from cluster.carbon.settings import CarbonSettings
from cluster.config import DEMO
from cluster.experiment_settings import ExperimentSettings, FeedbackSettings
from cluster.kept import SAVINGS_S
from cluster.metrics import METRICS
from cluster.monitoring.panels import ROWS
from cluster.monitoring.rules import ALERTS, RECORDINGS
from cluster.outcomes.log_reader import read_log
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.schemas import SavedOut, SavingsResponse
from cluster.outcomes_replica import KEEP_S
from cluster.traffic.bodies import user_ids
from models.loading import Cascade

RATE, HOLDBACK_SHARE = 80.0, 0.3
HORIZON_S, ROTATE_S, G_PER_KWH = 6.0, 1.0, 360.0
LATE_S = 6.0
"""What a crash may lose of the log: what was not shipped, not written, or was on the way, on a machine that is busy."""
ENOUGH = 230
"""Requests of an arm: 200 of which all is known are enough for savings to be told."""
EARNS = {"policy": 0.5, "holdback": 1.0}
ONLY_IN_TROUBLE = (
    "greenflow_degraded_total",
    "greenflow_ledger_errors_total",
    "greenflow_log_dropped_rows_total",
    "greenflow_meter_events_total",
)
MOST_SERIES = 200
CASCADE = Cascade.open(DEMO)
SPACE = ChainSpace(CASCADE.spec, len(CASCADE.items))


@dataclass
class Served:
    """The application, its log, and all that it was asked while this module ran."""

    metered: Metered
    log: Path
    ends: ExitStack
    asked: list[Asked] = field(default_factory=list)
    told: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return self.metered.app.url

    def savings(self) -> SavingsResponse | None:
        """None while nobody can tell."""
        response = httpx.get(f"{self.url}/v1/savings", timeout=30)
        if response.status_code == 503:
            return None
        assert response.status_code == 200, response.text
        return SavingsResponse.model_validate_json(response.content, strict=True)

    def counted(self) -> int:
        """Requests in both arms; 0 while nobody can tell."""
        told = self.savings()
        return 0 if told is None else told.requests.policy + told.requests.holdback


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("served")
    settings = {
        "experiment": ExperimentSettings(holdback=HOLDBACK_SHARE, salt=SecretStr("of the test")),
        "feedback": FeedbackSettings(horizon_s=HORIZON_S),
        "log": LogSettings(folder=folder / "log", rotate_s=ROTATE_S),
        "carbon": CarbonSettings(g_per_kwh=G_PER_KWH),
        "placement": "inline",
    }
    with ExitStack() as ends:
        yield Served(ends.enter_context(metered(folder, **settings)), folder / "log", ends)


def earns(one: Asked) -> float:
    return EARNS[str(one.arm)]


def answered_by(asked: list[Asked], arm: int) -> list[Asked]:
    return [one for one in asked if one.status == 200 and one.arm == ARMS[arm]]


def with_joules(asked: list[Asked], arm: int) -> list[Asked]:
    return [one for one in answered_by(list(asked), arm) if one.energy_j is not None]


def flops_of(asked: list[Asked]) -> float:
    return float(np.mean([SPACE.get(str(one.chain)).flops for one in asked]))  # type: ignore[union-attr]


def assert_covers(saved: SavedOut, truth: float) -> None:
    assert saved.per_request is not None, saved.reason
    for interval in (saved.per_request.fixed, saved.per_request.sequential):
        assert interval.low <= truth <= interval.high


@pytest.fixture(scope="module")
def watched(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitoring]:
    """Prometheus over the application, from before its first request on."""
    folder = tmp_path_factory.mktemp("watched")
    options = ("--state-dir", str(folder), "--service-discovery", str(listed(folder, address())))
    with monitoring(folder, options) as running:
        yield running


@NEEDS_PROMETHEUS
def test_prometheus_reaches_the_node_and_knows_our_rules(watched: Monitoring) -> None:
    until(lambda: [one["health"] for one in watched.asked("targets")["activeTargets"]] == ["up"])
    groups = watched.asked("rules")["groups"]
    assert {rule["name"] for group in groups for rule in group["rules"]} == {one.name for one in (*RECORDINGS, *ALERTS)}


def test_what_is_told_of_savings_is_what_answers_said_and_what_clients_told(served: Served) -> None:
    asking = Asking(served.url, user_ids(DEMO), RATE)
    with Rewarding(served.url, asking, earns) as rewarding, asking:
        until(lambda: min(len(with_joules(asking.asked, arm)) for arm in (POLICY, HOLDBACK)) >= ENOUGH, 60.0)
    served.asked += asking.asked
    served.told |= rewarding.told
    assert asking.faults() == []
    assert rewarding.refused == []
    policy, static = (answered_by(asking.asked, arm) for arm in (POLICY, HOLDBACK))
    assert len(policy) + len(static) == len(asking.asked) == len(rewarding.told)
    assert {one.chain for one in static} == {SPACE.static.id}

    until(lambda: (now := served.savings()) is not None and now.decisions.matured == len(asking.asked))
    told = served.savings()
    assert told is not None
    assert (told.holdback, told.requests.lost) == (HOLDBACK_SHARE, 0)
    assert (told.requests.policy, told.requests.holdback) == (len(policy), len(static))
    assert (told.feedback.joined, told.feedback.unknown, told.feedback.late) == (len(asking.asked), 0, 0)
    flops, energy, reward = told.quantities.flops, told.quantities.energy_j, told.quantities.reward
    assert flops.static == pytest.approx(SPACE.static.flops)
    assert flops.policy == pytest.approx(flops_of(policy))
    assert_covers(flops, flops_of(static) - flops_of(policy))
    assert (reward.static, reward.policy) == (pytest.approx(1.0), pytest.approx(0.5))
    assert_covers(reward, 0.5)
    known_j = [float(one.energy_j or 0.0) for one in with_joules(asking.asked, POLICY)]
    assert energy.policy == pytest.approx(float(np.mean(known_j)), rel=0.2)
    assert energy.static is not None
    assert energy.static > 0
    assert told.quantities.co2e_g.policy == pytest.approx(energy.policy / 3.6e6 * G_PER_KWH)
    assert told.quantities.co2e_g.static == pytest.approx(energy.static / 3.6e6 * G_PER_KWH)


def missing(scrape: Scrape) -> set[str]:
    return {name for name, metric in METRICS.items() if not scrape.of(metric)}


def test_the_nodes_metrics_are_those_that_are_defined_and_no_more(served: Served) -> None:
    until(lambda: missing(scraped()) <= set(ONLY_IN_TROUBLE))
    first = scraped()
    time.sleep(2.5)
    scrape = scraped()
    assert scrape.kinds == {name: METRICS[name].kind for name in scrape.kinds}
    for metric in METRICS.values():
        for labels in scrape.of(metric):
            assert set(metric.labels) <= set(labels)
            assert set(labels) - set(metric.labels) <= RAYS_LABELS
        apart = {tuple(labels[label] for label in metric.labels) for labels in scrape.of(metric)}
        assert len(apart) <= MOST_SERIES, f"{metric.name}: {apart}"
    said = {value for _, labels in scrape.values for _, value in labels}
    assert not said & {one.request_id for one in served.asked}
    rising = {key for key in first.values if key[0].endswith(("_total", "_bucket", "_count", "_sum"))}
    assert rising
    assert all(scrape.values[key] >= first.values[key] for key in rising)


@NEEDS_PROMETHEUS
def test_promtool_finds_nothing_wrong_with_our_metrics() -> None:
    ours = without_rays_labels(told())
    found = subprocess.run(["promtool", "check", "metrics"], input=ours, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


def blank(watched: Monitoring) -> set[str]:
    return {panel.title for _, row in ROWS for panel in row for one in panel.queries if not watched.result(one.expr)}


@NEEDS_PROMETHEUS
def test_every_panel_shows_something_and_every_rule_works(watched: Monitoring) -> None:
    with suppress(AssertionError):  # a rate needs two scrapes; which stay blank is told below
        until(lambda: not blank(watched))
    assert blank(watched) == set()
    rules = [rule for group in watched.asked("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule.get("lastError")) for rule in rules if rule["health"] != "ok"] == []
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert not firing & {"GreenflowControllerGone", "GreenflowLedgerNotWritten", "GreenflowPolicyStale"}
    for one in RECORDINGS:
        assert "WorkerId" not in {label for series in watched.result(one.name) for label in series["metric"]}


def test_killed_replicas_lose_a_few_seconds_of_the_account_and_no_request(served: Served) -> None:
    before = served.counted()
    assert before
    asking = Asking(served.url, user_ids(DEMO), RATE)
    with Rewarding(served.url, asking, earns) as rewarding, asking:
        time.sleep(max(3.0, KEEP_S + SAVINGS_S + 2.0 - HORIZON_S))  # so that the ledger has what came before
        killed_s = time.monotonic()
        for deployment in (CONTROLLER, OUTCOMES):
            (process,) = replicas_of(served.metered.app, deployment)
            kill(process)
        until(lambda: served.counted() >= before, 40.0)
        until(lambda: (now := served.savings()) is not None and now.feedback.joined > RATE, 40.0)
    assert asking.faults() == []
    assert rewarding.refused == []
    later = [one for one in asking.asked if one.at_s + one.took_s > killed_s]
    until(lambda: served.counted() >= before + len(later))
    told = served.savings()
    assert told is not None
    assert served.counted() <= before + len(asking.asked), "nothing counts twice"
    assert told.quantities.flops.static == pytest.approx(SPACE.static.flops)
    assert_covers(told.quantities.flops, told.quantities.flops.static - flops_of(answered_by(asking.asked, POLICY)))
    served.asked += asking.asked
    served.told |= rewarding.told
    ids = logged_ids(served.log)
    assert len(set(ids)) == len(ids)
    early = {one.request_id for one in served.asked if one.at_s + one.took_s < killed_s - LATE_S}
    assert len(early) > 5 * RATE
    assert early <= set(ids)


def logged_ids(log: Path, table: str = "decisions") -> list[str]:
    return [
        str(one)
        for file in sorted((log / table).glob("*.parquet"))
        for one in pq.read_table(file, columns=["request_id"], partitioning=None)["request_id"].to_pylist()
    ]


def half_written(log: Path) -> set[Path]:
    return set(log.rglob(".*.parquet"))


def test_an_end_in_order_leaves_a_log_of_all_that_was_answered(served: Served) -> None:
    of_the_kill = half_written(served.log)
    served.ends.close()
    assert half_written(served.log) <= of_the_kill
    rows = read_log(served.log, unripe=True, codes=Cascade.open(DEMO).spec.codes)
    ids = set(logged_ids(served.log))
    assert (rows.horizons_s, rows.others) == ((HORIZON_S,), 0)
    assert read_log(served.log, codes="of other items").others == len(ids), "all files say whose they are"
    assert ids <= {one.request_id for one in served.asked}
    assert len(served.asked) - len(ids) <= RATE * LATE_S
    assert set(np.unique(rows.arms)) == {POLICY, HOLDBACK}
    assert (rows.chains[rows.arms == HOLDBACK] == SPACE.static.index).all()
    assert rows.contexts.shape[1] > 0
    assert np.isfinite(rows.contexts).all()
    assert ((rows.propensities > 0) & (rows.propensities <= 1)).all()
    assert (rows.propensities[rows.arms == HOLDBACK] == 1.0).all()
    assert np.isfinite(rows.predicted[rows.arms == POLICY]).mean() > 0.9
    expected = np.where(rows.arms == HOLDBACK, EARNS["holdback"], EARNS["policy"])
    unheard = rows.rewards != expected
    assert (rows.rewards[unheard] == 0.0).all()
    assert unheard.sum() <= RATE * LATE_S, "but for what was heard right before the crash"
    assert logged_ids(served.log, "outcomes")
