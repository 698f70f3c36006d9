"""Lets what a replica logs reach its log file.

Serve keeps its own logger apart: what other loggers write lands on the replica's standard error, which throughput mode
turns into lines of level INFO, gathers by the thousand and, at the level that is right for Serve itself, drops. So our
lines, and the warnings of all libraries, are handed straight to the file that Serve has opened, in its format.
"""

import copy
import logging
from collections.abc import Iterator
from logging.handlers import MemoryHandler
from typing import Any

from ray.serve.schema import LoggingConfig

from cluster.events import Event, happened
from cluster.served import software
from models.errors import GreenFlowError

SERVES, OURS = "ray.serve", "cluster"
logger = logging.getLogger(__name__)


class ToServe(logging.Handler):
    """Hands records to the handlers that Serve's logger has at that time, without their buffers."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; where Serve has opened no file, nowhere."""
        for handler, target in _targets():
            handed = copy.copy(record)
            if all(_passes(one, handed) for one in handler.filters):
                _named(handed, target.formatter)
                target.handle(handed)


def is_news(record: logging.LogRecord) -> bool:
    """Not where a call between replicas has failed with an error of ours: whoever called answers for it, and a client
    that sends what is refused, or asks too early, must not fill the log."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(getattr(error, "cause", error), GreenFlowError)


def open_logs() -> None:
    """To be called first in a replica. A second time changes nothing."""
    logging.getLogger(SERVES).addFilter(is_news)
    for name, level in ((OURS, logging.INFO), ("", logging.WARNING)):
        of_name = logging.getLogger(name)
        if not any(isinstance(handler, ToServe) for handler in of_name.handlers):
            handler = ToServe(level)
            of_name.addHandler(handler)
    ours = logging.getLogger(OURS)
    ours.setLevel(logging.INFO)
    ours.propagate = False


def ready(what: str) -> None:
    """To be called last in the making of a replica."""
    happened(logger, Event.STARTED, "%s is ready, GreenFlow %s", what, software())


def ended(what: str) -> None:
    """To be called last when a replica ends in order."""
    happened(logger, Event.ENDED, "%s has ended", what)


def logging_config(form: str) -> LoggingConfig:
    """Of Serve itself, by the setting `logs` ("text" or "json"): no line for a request, and of Serve's own lines those
    that say what is wrong."""
    return LoggingConfig(enable_access_log=False, log_level="WARNING", encoding=form.upper())


def _targets() -> Iterator[tuple[logging.Handler, logging.Handler]]:
    """Serve's handlers, and who writes for each."""
    for handler in logging.getLogger(SERVES).handlers:
        target = handler.target if isinstance(handler, MemoryHandler) else handler
        if target is not None:
            yield handler, target


def _passes(one: Any, record: logging.LogRecord) -> bool:
    return bool(one.filter(record) if hasattr(one, "filter") else one(record))


def _named(record: logging.LogRecord, formatter: logging.Formatter | None) -> None:
    """In text, where fields do not show, the event's name comes before what is said."""
    name = getattr(record, "event", None)
    if name is not None and "JSON" not in type(formatter).__name__:
        record.msg, record.args = f"{name}: {record.getMessage()}", None
