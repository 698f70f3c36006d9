"""Rules and alerts work, sum over Ray's workers, and each alert fires when it should and not when it should not."""

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from promql_shape import unsummed

from cluster.monitoring.panels import ROWS
from cluster.monitoring.promql import PLAIN
from cluster.monitoring.rules import ALERTS, RECORDINGS, rules_yaml
from cluster.monitoring.scraping import RULES_FILE, Targets, prometheus_yaml, shipped_yaml

STORIES = Path(__file__).parent.parent / "data" / "alerts.test.yml"
NEEDS_PROMTOOL = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs the program promtool (apt-get install prometheus)"
)


def promtool(*arguments: str | Path) -> str:
    """What it says; an assertion when it finds fault."""
    found = subprocess.run(["promtool", *map(str, arguments)], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@NEEDS_PROMTOOL
def test_alerts_fire_on_bad_series_and_are_silent_on_good_ones() -> None:
    promtool("test", "rules", STORIES)


def test_each_alert_has_a_story_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    told = [one for test in yaml.safe_load(STORIES.read_text())["tests"] for one in test["alert_rule_test"]]
    names = {alert.name for alert in ALERTS}
    assert {one["alertname"] for one in told if one.get("exp_alerts")} == names
    assert {one["alertname"] for one in told if not one.get("exp_alerts")} == names


@NEEDS_PROMTOOL
@pytest.mark.parametrize(
    "targets",
    [
        Targets(file=Path("/tmp/nodes.json")),
        Targets(url="http://head:8265/api/prometheus/sd"),
        Targets(url="http://head:8265/api/prometheus/sd", token_file=Path("/tmp/token")),
    ],
    ids=["file", "dashboard", "dashboard with token"],
)
def test_prometheus_takes_the_configuration_of_every_kind_of_list(targets: Targets, tmp_path: Path) -> None:
    (tmp_path / RULES_FILE).write_text(rules_yaml())
    for text in (prometheus_yaml(targets, 0.5), shipped_yaml()):
        (tmp_path / "prometheus.yml").write_text(text)
        assert f"{len(RECORDINGS) + len(ALERTS)} rules found" in promtool(
            "check", "config", "--syntax-only", tmp_path / "prometheus.yml"
        ) + promtool("check", "rules", tmp_path / RULES_FILE)


@pytest.mark.parametrize("rule", [*RECORDINGS, *ALERTS], ids=lambda rule: rule.name)
def test_rules_sum_over_workers(rule: object) -> None:
    assert unsummed(rule.expr) == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("panel", [panel for _, row in ROWS for panel in row], ids=lambda panel: panel.title)
def test_panels_sum_over_workers(panel: object) -> None:
    assert [found for query in panel.queries for found in unsummed(query.expr)] == []  # type: ignore[attr-defined]


def test_what_does_not_sum_is_found() -> None:
    assert unsummed("rate(ray_greenflow_price[5m]) > sum by (x) (ray_greenflow_price)") == ["ray_greenflow_price"]


def test_a_metric_that_is_not_defined_cannot_be_asked_for() -> None:
    with pytest.raises(KeyError):
        PLAIN.newest("prise", "constraint")


def test_alerts_say_what_is_the_matter_and_what_to_do() -> None:
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert all(alert.what.endswith(".") and alert.remedy.endswith(".") for alert in ALERTS)
