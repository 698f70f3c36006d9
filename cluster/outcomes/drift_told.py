"""Says in the log when rewards drift, and when they no longer do. No Ray here."""

import logging

from cluster.events import Event, happened
from cluster.outcomes.drift import DriftView
from cluster.outcomes.drift_evidence import Side

logger = logging.getLogger(__name__)


class Drifting:
    """Looks now and then, and says once what has changed."""

    def __init__(self) -> None:
        self._side: Side | None = None

    def look(self, view: DriftView) -> None:
        """What is known of drift now."""
        side = None if view.alarm is None else view.alarm.side
        if side is not None and side is not self._side:
            said = "less" if side is Side.LOW else "more"
            text = "requests earn %s than %s predicts (%.3g times it)"
            happened(logger, Event.DRIFT_BEGAN, text, said, view.reward_model, view.calibration.ratio)
        elif side is None and self._side is not None:
            happened(logger, Event.DRIFT_ENDED, "requests earn what %s predicts", view.reward_model)
        self._side = side
