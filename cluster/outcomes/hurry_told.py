"""Says in the log when requests do not wait for their rewards as long as they should. No Ray here."""

import logging

from cluster.events import Event, happened
from cluster.outcomes.joiner import JoinCounts

logger = logging.getLogger(__name__)


class Hurrying:
    """Looks now and then, and says it once: only other settings, and so another life of who looks, can end it."""

    def __init__(self) -> None:
        self._told = False

    def look(self, counts: JoinCounts, hears: bool) -> None:
        """What has become of decisions. Where nobody tells of rewards (`hears`), none is missed."""
        if counts.hurried and hears and not self._told:
            self._told = True
            text = (
                "feedback.most_pending is too small for this traffic: requests give way before feedback.horizon_s is "
                "over, and then no saving counts their rewards. Raise it, or shorten feedback.horizon_s"
            )
            happened(logger, Event.FEEDBACK_HURRIED, text)
