"""What tests of every kind share: a tiny cascade, built once, and copies of it to break."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Test folders are no packages (they would shadow the project's), so shared helpers have a folder of their own.
sys.path.insert(0, str(Path(__file__).parent / "support"))
pytest.register_assert_rewrite("stage_runner_contract", "decider_contract")

from cluster.launching import serve_env  # noqa: E402

# Nothing that tests serve writes into the user's own ledger.
os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp(prefix="gft-state-")
serve_env.prepare()  # Ray reads its mode when it is first imported, whichever test does that

import tiny_cascade  # noqa: E402
from tiny_cascade import TinyCascade  # noqa: E402

# How long an example takes depends on what else the machine does, and says nothing about the code.
settings.register_profile("greenflow", deadline=None)
settings.load_profile("greenflow")


@pytest.fixture(autouse=True)
def logs_go_where_they_went() -> Iterator[None]:
    """Replicas that are made in this process hand what is logged to Serve, as in a process of their own."""
    ours = logging.getLogger("cluster")
    before = ours.propagate, ours.level
    yield
    module = sys.modules.get("cluster.serve_logs")
    if module is not None:
        for logger in (ours, logging.getLogger()):
            for handler in [one for one in logger.handlers if isinstance(one, module.ToServe)]:
                logger.removeHandler(handler)
        logging.getLogger(module.SERVES).removeFilter(module.is_news)
    ours.propagate, ours.level = before


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    """The tiny cascade with integer ids. Shared: leave its folder as it is."""
    return tiny_cascade.build(tmp_path_factory.mktemp("tiny") / "ints")


@pytest.fixture(scope="session")
def tiny_strings(tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    """The tiny cascade with string ids. Shared: leave its folder as it is."""
    return tiny_cascade.build(tmp_path_factory.mktemp("tiny") / "strings", strings=True)


@pytest.fixture(scope="session")
def tiny_numbers(tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    """The tiny cascade with a float column in both tables. Shared: leave its folder as it is."""
    return tiny_cascade.build(tmp_path_factory.mktemp("tiny") / "numbers", numbers=True)


@pytest.fixture(params=["tiny", "tiny_strings", "tiny_numbers"])
def any_tiny(request: pytest.FixtureRequest) -> TinyCascade:
    """Each kind of tiny cascade in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def broken(tiny: TinyCascade, tmp_path: Path) -> TinyCascade:
    """A copy of the tiny cascade to break."""
    return tiny.copy_to(tmp_path / "broken")
