"""What is worth a line in the log: events by name. Each is told once where it begins, and once where it is over; what
requests do is counted in metrics, and never told one by one. No Ray here."""

import logging
from collections.abc import Callable
from enum import Enum
from logging import ERROR, INFO, WARNING

SELDOM_S = 60.0


class Event(Enum):
    """An event's name in the log, its level, and what it means. README.md's table of events is this one."""

    STARTED = "started", INFO, "a replica is ready: which, and of what version"
    ENDED = "ended", INFO, "a replica ends in order"
    NODE_JOINED = "node_joined", INFO, "a meter starts on a Ray node"
    NODE_LEFT = "node_left", INFO, "a Ray node is gone, and its meter with it"
    METER_SILENT = "meter_silent", WARNING, "a node's meter does not answer; counters keep what it does not tell"
    METER_BACK = "meter_back", INFO, "it answers again"
    NOTHING_METERED = "nothing_metered", ERROR, "a sensor that the settings demand is absent, so a node has no meter"
    SENSOR_ABSENT = "sensor_absent", INFO, "something is not read: why, and the remedy; once for each"
    SENSOR_LOST = "sensor_lost", WARNING, "a device that was measured is not any more"
    SENSOR_BACK = "sensor_back", INFO, "it is again"
    INTENSITY_STALE = "intensity_stale", WARNING, "the grid's last figure is old, or there is none any more"
    INTENSITY_FRESH = "intensity_fresh", INFO, "a figure has come"
    LEDGER_ERROR = "ledger_error", ERROR, "nothing can be written or read; counters keep what is not written"
    LEDGER_BACK = "ledger_back", INFO, "it can again"
    LIMIT_SET = "limit_set", INFO, "somebody has set a limit: who, and instead of what"
    LIMIT_CLEARED = "limit_cleared", INFO, "somebody has removed one"
    LIMIT_BY_SETTINGS = "limit_by_settings", WARNING, "new settings win over what was set live"
    LIMIT_NOT_HELD = "limit_not_held", WARNING, "a limit cannot be held here, and why"
    LIMIT_OUT_OF_REACH = "limit_out_of_reach", WARNING, "even the cheapest chains exceed it"
    LIMIT_IN_REACH = "limit_in_reach", INFO, "they do not any more"
    VARIANT_LOST = "variant_lost", WARNING, "no replica of a variant is there; its chains leave the choice"
    VARIANT_BACK = "variant_back", INFO, "one is there"
    CONTROLLER_LOST = "controller_lost", WARNING, "a replica cannot report; prices hold"
    CONTROLLER_BACK = "controller_back", INFO, "it can again"
    POLICY_STALE = "policy_stale", WARNING, "prices have held for longer than allocator.stale_s"
    POLICY_FRESH = "policy_fresh", INFO, "they follow again"
    UNDECIDED = "undecided", WARNING, "nobody decides for this replica: requests take the safe chain"
    DECIDED = "decided", INFO, "somebody does again"
    DEGRADED_BEGAN = "degraded_began", WARNING, "answers are not what they could be, by reason"
    DEGRADED_ENDED = "degraded_ended", INFO, "they are again, for ten seconds: how many were not"
    REQUEST_FAILED = "request_failed", ERROR, "an error that nobody foresaw, answered 500; at most one a minute is told"
    MODEL_PROMOTED = (
        "model_promoted",
        INFO,
        "another reward model predicts: by whom, or as was promoted before a restart",
    )
    MODEL_BY_CASCADE = "model_by_cascade", WARNING, "the cascade's new reward model wins over what was promoted"
    MODEL_UNUSABLE = "model_unusable", ERROR, "a reward model cannot be used, and which one is instead"
    EXPERIMENT_OPENED = "experiment_opened", INFO, "so many users are held back; savings go on, or begin anew and why"
    DRIFT_BEGAN = "drift_began", WARNING, "requests do not earn what is predicted"
    DRIFT_ENDED = "drift_ended", INFO, "they do again"
    FEEDBACK_HURRIED = (
        "feedback_hurried",
        WARNING,
        "more requests wait for feedback than feedback.most_pending: the oldest count no reward",
    )
    OUTCOMES_KEPT = "outcomes_kept", WARNING, "outcomes cannot be passed on, and are kept"
    OUTCOMES_PASSED = "outcomes_passed", INFO, "they can again"
    LOG_ERROR = "log_error", ERROR, "decisions cannot be logged (log.folder), or rows of them are dropped"
    LOG_BACK = "log_back", INFO, "they are logged again"
    BEGINS_ANEW = "begins_anew", WARNING, "something learned is lost or comes late, and is learned anew"
    NOT_KNOWN = "not_known", WARNING, "something cannot be asked now; what was known stays"
    PAGE_FAILED = "page_failed", ERROR, "the live page misses windows; at most one a minute is told"

    def __init__(self, label: str, level: int, means: str) -> None:
        self.label, self.level, self.means = label, level, means


def happened(logger: logging.Logger, event: Event, text: str, *args: object, trace: bool = False) -> None:
    """A line of the log; the event's name stands in it. `trace` adds the traceback of the error that is handled."""
    logger.log(event.level, text, *args, exc_info=trace, extra={"event": event.label}, stacklevel=2)


class Seldom:
    """Lets something through now and then, and counts what it did not.

    clock  seconds that only grow
    """

    def __init__(self, clock: Callable[[], float], every_s: float = SELDOM_S) -> None:
        self._clock, self._every_s = clock, every_s
        self._last_s: float | None = None
        self._kept_back = 0

    def passed(self) -> int | None:
        """How many were kept back since the last one that came through; None where this one is kept back too."""
        now_s = self._clock()
        if self._last_s is not None and now_s - self._last_s < self._every_s:
            self._kept_back += 1
            return None
        self._last_s, kept_back, self._kept_back = now_s, self._kept_back, 0
        return kept_back
