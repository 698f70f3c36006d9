"""The Grafana dashboards that the installed Ray would generate; with Ray's own code, which knows its metrics."""

import warnings
from collections.abc import Mapping

CORE = "default_grafana_dashboard.json"
"""What Ray's dashboard shows as Metrics, Core."""
_NAMES = ("default", "serve", "serve_deployment", "serve_llm", "serve_llm_sglang", "data", "data_llm", "train")


def ray_dashboards() -> Mapping[str, str]:
    """JSON by file name, as Ray names its files. Those that this Ray does not know are left out."""
    try:
        from ray.dashboard.modules.metrics import grafana_dashboard_factory as factory
    except ImportError:
        return {}
    found = {}
    for name in _NAMES:
        generate = getattr(factory, f"generate_{name}_grafana_dashboard", None)
        if generate is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ResourceWarning)  # Ray leaves its files to the collector of garbage
                found[f"{name}_grafana_dashboard.json"] = str(generate()[0])
    return found
