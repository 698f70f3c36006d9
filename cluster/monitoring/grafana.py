"""Grafana's dashboards as JSON: one of our own, and a row at the end of Ray's, which Ray's dashboard shows as Core.

Ray's dashboard embeds Grafana's dashboard of the uid that Ray generates (`rayDefaultDashboard` unless it was told
otherwise), and no other; so what is to be seen there must be in that file. Nothing else in it is changed.
"""

import json
from collections.abc import Sequence
from typing import Any

from cluster.monitoring.panels import ROWS, Panel, Query
from cluster.monitoring.promql import OURS, PREFIX

Json = dict[str, Any]
UID, TITLE = "greenflow", "GreenFlow"
FIRST_ID = 9000
"""Of our row's panels in Ray's dashboard: Ray's own are below 2000."""
_WIDE, _HIGH, _COLUMNS = 12, 8, 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def our_dashboard() -> Json:
    """The dashboard GreenFlow, with all panels."""
    panels: list[Json] = []
    for title, some in ROWS:
        panels += _row(title, some, first_id=len(panels) + 1, top=_bottom(panels))
    return {
        "uid": UID,
        "title": TITLE,
        "tags": ["greenflow", "ray"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "timezone": "",
        "templating": {"list": [_data_source(), _session()]},
        "panels": panels,
    }


def with_our_row(rays: Json) -> Json:
    """Ray's Core dashboard with our row at its end, instead of one that is there already."""
    theirs = [panel for panel in rays["panels"] if panel["id"] < FIRST_ID]
    ours = _row(TITLE, [panel for _, some in ROWS for panel in some if panel.core], FIRST_ID, _bottom(theirs))
    return {**rays, "panels": theirs + ours}


def text_of(dashboard: Json) -> str:
    """As the file of a dashboard."""
    return json.dumps(dashboard, indent=1) + "\n"


def _row(title: str, panels: Sequence[Panel], first_id: int, top: int) -> list[Json]:
    """A row's head and its panels, two beside each other."""
    head: Json = {
        "id": first_id,
        "type": "row",
        "title": title,
        "collapsed": False,
        "panels": [],
        "gridPos": {"x": 0, "y": top, "w": _COLUMNS, "h": 1},
    }
    return [head, *(_panel(one, first_id + 1 + at, at, top + 1) for at, one in enumerate(panels))]


def _panel(panel: Panel, number: int, at: int, top: int) -> Json:
    per_row = _COLUMNS // _WIDE
    place = {"x": at % per_row * _WIDE, "y": top + at // per_row * _HIGH, "w": _WIDE, "h": _HIGH}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "gridPos": place,
        "targets": [_target(panel, query, at) for at, query in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, query: Query, at: int) -> Json:
    found: Json = {
        "refId": chr(ord("A") + at),
        "datasource": _SOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": panel.kind == "stat",
        "range": panel.kind != "stat",
    }
    return {**found, "format": "heatmap"} if panel.kind == "heatmap" else found


def _defaults(panel: Panel) -> Json:
    found: Json = {"unit": panel.unit}
    if panel.kind == "timeseries":
        stacking = {"mode": "normal" if panel.stacked else "none", "group": "A"}
        custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 30 if panel.stacked else 0, "spanNulls": False}
        found |= {"min": 0, "custom": {**custom, "stacking": stacking}} if panel.stacked else {"custom": custom}
    return found


def _options(panel: Panel) -> Json:
    if panel.kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "graphMode": "none", "textMode": "value_and_name"}
    if panel.kind == "heatmap":
        return {"calculate": False, "yAxis": {"unit": panel.unit}, "color": {"mode": "scheme", "scheme": "Greens"}}
    return {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}}


def _bottom(panels: Sequence[Json]) -> int:
    return max((panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels), default=0)


def _data_source() -> Json:
    """Named as Ray's dashboards name theirs, so that the same queries work in both."""
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "hide": 2, "refresh": 1}


def _session() -> Json:
    query = f"label_values({PREFIX}{OURS}control_windows_total, SessionName)"
    return {
        "name": "SessionName",
        "label": "Ray session",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "StandardVariableQuery"},
        "definition": query,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 2,
    }
