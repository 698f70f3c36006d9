"""Simulated days as JSON: figures that there are none of are null."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from cluster.simulation.outcome import Outcome


def as_json(outcomes: Sequence[tuple[str, Outcome]]) -> str:
    """One object with a list of runs."""
    runs = [{"limits_asked": label, **_run(one)} for label, one in outcomes]
    return json.dumps({"format": 1, "runs": runs}, indent=1, allow_nan=False) + "\n"


def _run(one: Outcome) -> dict[str, Any]:
    derived = {"complete": one.complete, "kwh": one.kwh, "of_optimum": one.of_optimum}
    found: dict[str, Any] = _finite({**asdict(one), **derived})
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
