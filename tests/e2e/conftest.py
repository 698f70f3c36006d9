"""The end of a run that was connected to Ray."""

import os
import sys

import pytest

STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Remember what the run is to end with."""
    session.config.stash[STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without tearing the interpreter down. Threads of Ray's client outlive `ray.shutdown`, and now and then one
    that exports metrics runs into what is gone already: a segmentation fault after all tests have passed, which is the
    client's and not ours. `greenflow` ends in the same way (`cluster/cli.py`)."""
    if STATUS in config.stash and not hasattr(config, "workerinput"):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(config.stash[STATUS])
