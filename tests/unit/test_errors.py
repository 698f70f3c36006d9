"""The tree at the top of models/errors.py is complete, and errors survive the way between processes."""

import inspect
import pickle
import re
from pathlib import Path

import pytest

from models import errors
from models.errors import FixFile, FixRequest, FixSetup, GreenFlowError, Lost, NoSuch, TryAgain


def test_the_drawn_tree_names_every_error_and_no_other() -> None:
    assert errors.__doc__ is not None
    drawn = set(re.findall(r"^(?:[│ ]*[├└]── )?([A-Z]\w+)(?:$| {2,})", errors.__doc__, re.MULTILINE))
    defined = {
        name
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    }
    assert drawn == defined


@pytest.mark.parametrize("error", [FixFile, FixRequest, FixSetup, TryAgain])
def test_every_error_is_a_greenflow_error(error: type[Exception]) -> None:
    assert issubclass(error, GreenFlowError)


def test_fix_file_says_file_field_and_problem() -> None:
    assert str(FixFile(Path("a/cascade.yaml"), "k", "must be positive")) == "a/cascade.yaml: k: must be positive"
    assert str(FixFile("a.npy", "", "no such file")) == "a.npy: no such file"


def test_fix_request_says_field_and_problem() -> None:
    assert str(FixRequest("context.age", "unknown")) == "context.age: unknown"


@pytest.mark.parametrize(
    "error",
    [
        FixFile("f", "field", "problem"),
        FixRequest("k", "too big"),
        NoSuch("name", "is none"),
        FixSetup("no GPU"),
        TryAgain("gone"),
        Lost("rank", "din"),
    ],
)
def test_errors_cross_process_boundaries_whole(error: Exception) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert str(back) == str(error)
    assert vars(back) == vars(error)
