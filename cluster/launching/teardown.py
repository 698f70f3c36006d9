"""Stops what a launch started, whatever state it is in, without leaving a process behind."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import psutil

from cluster.launching import instances

GRACE_S = 30.0
_MOMENT_S = 0.5
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def counting_signals() -> Iterator[threading.Event]:
    """Make Ctrl-C and SIGTERM set the event that is yielded, instead of interrupting what runs.

    Only the main thread can do so; elsewhere signals are left as they are.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def note(_signal: int, _frame: FrameType | None) -> None:
        asked.set()

    before = {s: signal.signal(s, note) for s in _SIGNALS}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


@contextlib.contextmanager
def our_sigterm() -> Iterator[None]:
    """Keep the handler of SIGTERM over `ray.init`: Ray's own prints a stack trace and aborts three seconds later."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def start(work: Callable[[], object]) -> threading.Thread:
    """Start `work` in a thread that keeps its errors to itself: what is to be stopped may be broken."""

    def quietly() -> None:
        with contextlib.suppress(Exception):
            work()

    thread = threading.Thread(target=quietly, name="gentle-stop", daemon=True)
    thread.start()
    return thread


def wait(thread: threading.Thread, impatient: threading.Event, timeout_s: float) -> None:
    """Wait until the thread is done, somebody is impatient, or `timeout_s` has passed."""
    deadline = time.monotonic() + timeout_s
    while thread.is_alive() and not impatient.is_set() and time.monotonic() < deadline:
        thread.join(0.1)


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Drop what this process prints: Python's streams, not the file descriptors."""
    with (
        open(os.devnull, "w", encoding="utf-8") as sink,
        contextlib.redirect_stdout(sink),
        contextlib.redirect_stderr(sink),
    ):
        yield


def end_processes(name: str, spare: str = "", at_once: bool = False) -> list[int]:
    """Kill all processes of the instance but those called `spare`, and return the pids of those that would not go.

    Ray's processes get a moment to end by themselves first, unless it is to be `at_once`: where a gentle stop has been
    cut short, Ray's client may end this process in that moment, and what it has not killed by then stays behind.
    Looks again for what was started meanwhile.
    """
    left: list[psutil.Process] = []
    for grace_s in (0.0 if at_once else _MOMENT_S, 0.0, 0.0):
        left = [process for process in instances.processes_of(name) if process.name() != spare]
        if not left:
            break
        left = instances.end(left, grace_s)
    return [process.pid for process in left]
