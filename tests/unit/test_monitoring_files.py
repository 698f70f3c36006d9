"""What deploy/ holds is what the code makes, and Grafana's dashboards are whole; in Ray's nothing of Ray's changes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cluster.cli import greenflow
from cluster.launching.ray_dashboards import CORE, ray_dashboards
from cluster.metrics import METRICS
from cluster.monitoring.files import shipped_files
from cluster.monitoring.grafana import FIRST_ID, UID, our_dashboard, with_our_row
from cluster.monitoring.panels import ROWS
from cluster.monitoring.provisioning import providers_yaml, sources_yaml
from cluster.monitoring.stand import keep_row, write_dashboards
from cluster.monitoring.table import metrics_table

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
EMBEDDED = (24, 41)
"""Panels that Ray's dashboard shows on its own overview, by these numbers."""


@pytest.fixture(scope="module")
def rays() -> dict[str, Any]:
    """Ray's Core dashboard, as the installed Ray makes it."""
    found: dict[str, Any] = json.loads(ray_dashboards()[CORE])
    return found


def assert_whole(panels: Sequence[dict[str, Any]]) -> None:
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in panels]
    for at, one in enumerate(places):
        assert 0 <= one["x"] < one["x"] + one["w"] <= 24
        for other in places[:at]:
            apart = one["y"] >= other["y"] + other["h"] or other["y"] >= one["y"] + one["h"]
            assert apart or one["x"] >= other["x"] + other["w"] or other["x"] >= one["x"] + one["w"]


@pytest.mark.parametrize("name", shipped_files())
def test_deploy_holds_what_the_code_makes(name: str) -> None:
    assert (DEPLOY / name).read_text() == shipped_files()[name], "write it anew: greenflow monitoring files"


def test_the_table_names_every_metric_with_its_labels() -> None:
    rows = metrics_table().splitlines()
    for metric in METRICS.values():
        (row,) = (one for one in rows if one.startswith(f"| `ray_{metric.name}` | {metric.kind} |"))
        assert all(f"`{label}`" in row for label in metric.labels)
        assert metric.about in row


def test_the_commands_print_the_table_and_write_the_files(tmp_path: Path) -> None:
    assert CliRunner().invoke(greenflow, ["monitoring", "metrics"]).stdout == metrics_table()
    written = CliRunner().invoke(greenflow, ["monitoring", "files", "--out", str(tmp_path)])
    assert set(written.stdout.split()) == {str(tmp_path / name) for name in shipped_files()}
    assert {name: (tmp_path / name).read_text() for name in shipped_files()} == shipped_files()
    core = tmp_path / "grafana" / "dashboards" / CORE
    assert not core.exists()
    assert (
        CliRunner().invoke(greenflow, ["monitoring", "files", "--out", str(tmp_path), "--ray-dashboards"]).exit_code
        == 0
    )
    assert json.loads(core.read_text())["panels"][-1]["id"] >= FIRST_ID


def test_our_dashboard_is_whole() -> None:
    dashboard = our_dashboard()
    assert_whole(dashboard["panels"])
    shown = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert [panel["title"] for panel in shown] == [panel.title for _, row in ROWS for panel in row]
    for panel in shown:
        assert panel["description"]
        assert panel["targets"]
        letters = [target["refId"] for target in panel["targets"]]
        assert len(set(letters)) == len(letters)


def test_all_that_can_be_told_of_is_shown_or_alerted_on() -> None:
    text = "".join(shipped_files().values())
    assert {name for name in METRICS if text.count(f"ray_{name}") < 2} <= {
        "greenflow_emissions_grams_total",  # the ledger's grams outlive restarts
        "greenflow_ledger_errors_total",
    }


def test_in_rays_core_dashboard_our_row_comes_last_and_all_else_stays(rays: dict[str, Any]) -> None:
    after = with_our_row(rays)
    ours = [panel for panel in after["panels"] if panel["id"] >= FIRST_ID]
    assert after["panels"][: len(rays["panels"])] == rays["panels"]
    assert set(EMBEDDED) <= {panel["id"] for panel in rays["panels"]}
    assert {**after, "panels": None} == {**rays, "panels": None}
    assert_whole(after["panels"])
    assert (ours[0]["type"], ours[0]["title"]) == ("row", "GreenFlow")
    assert [panel["title"] for panel in ours[1:]] == [panel.title for _, row in ROWS for panel in row if panel.core]
    variables = {one["name"] for one in rays["templating"]["list"]}
    assert {"datasource", "SessionName"} <= variables, "our panels use them"


def test_a_row_that_is_there_is_replaced(rays: dict[str, Any]) -> None:
    assert with_our_row(with_our_row(rays)) == with_our_row(rays)


def test_ray_s_dashboard_finds_its_own_by_the_uid_that_it_expects(rays: dict[str, Any]) -> None:
    assert with_our_row(rays)["uid"] == "rayDefaultDashboard"
    assert our_dashboard()["uid"] == UID


def test_what_ray_writes_anew_gets_the_row_again(rays: dict[str, Any], tmp_path: Path) -> None:
    write_dashboards(tmp_path, {CORE: json.dumps(rays), "serve.json": "{}"}, CORE, keep=False)
    assert {path.name for path in tmp_path.iterdir()} == {CORE, "serve.json", "greenflow_dashboard.json"}
    assert json.loads((tmp_path / CORE).read_text()) == with_our_row(rays)
    assert not keep_row(tmp_path / CORE)
    (tmp_path / CORE).write_text(json.dumps(rays))
    assert keep_row(tmp_path / CORE)
    assert json.loads((tmp_path / CORE).read_text()) == with_our_row(rays)


def test_dashboards_of_a_running_ray_stay_as_they_are_but_for_the_row(rays: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "serve.json").write_text("of the running Ray")
    (tmp_path / CORE).write_text(json.dumps({**rays, "title": "of the running Ray"}))
    write_dashboards(tmp_path, {CORE: json.dumps(rays), "serve.json": "{}"}, CORE, keep=True)
    assert (tmp_path / "serve.json").read_text() == "of the running Ray"
    assert json.loads((tmp_path / CORE).read_text()) == {**with_our_row(rays), "title": "of the running Ray"}


@pytest.mark.parametrize("text", ["", '{"panels": [', '{"title": "no panels"}'])
def test_a_file_that_is_missing_or_half_written_waits_for_the_next_time(text: str, tmp_path: Path) -> None:
    assert not keep_row(tmp_path / CORE)
    (tmp_path / CORE).write_text(text)
    assert not keep_row(tmp_path / CORE)
    assert (tmp_path / CORE).read_text() == text


def test_grafana_is_told_of_prometheus_and_of_the_folder() -> None:
    (source,) = yaml.safe_load(sources_yaml("http://127.0.0.1:9090", 10.0))["datasources"]
    assert (source["name"], source["url"], source["isDefault"]) == ("Prometheus", "http://127.0.0.1:9090", True)
    assert source["jsonData"] == {"timeInterval": "10s"}
    (provider,) = yaml.safe_load(providers_yaml("/some/folder"))["providers"]
    assert provider["options"] == {"path": "/some/folder"}
