"""What the ingress ships of its decisions: columns that fit together, and travel as little more than their bytes."""

import pickle
from dataclasses import fields, replace
from math import nan

import numpy as np
import pytest
from outcome_rows import BEGAN_S, decisions, numbered

from cluster.outcomes.records import Decisions

COLUMNS = [f.name for f in fields(Decisions) if f.name not in {"time_s", "request_ids", "policy_version"}]


def same(one: Decisions, other: Decisions) -> bool:
    return all(
        np.array_equal(getattr(one, f.name), getattr(other, f.name), equal_nan=f.name in COLUMNS) for f in fields(one)
    )


@pytest.mark.parametrize(("rows", "width"), [(0, 3), (1, 0), (7, 3), (64, 40)])
def test_a_pickle_gives_back_what_it_was_given(rows: int, width: int) -> None:
    batch = decisions(numbered(rows), width=width, static_j=nan)
    back = pickle.loads(pickle.dumps(batch))
    assert same(back, batch)
    assert all(np.asarray(getattr(back, name)).dtype == np.asarray(getattr(batch, name)).dtype for name in COLUMNS)
    with pytest.raises(ValueError, match="read-only"):
        back.users[:0] = 0


def test_a_pickle_is_little_more_than_ids_and_columns() -> None:
    batch = decisions([f"{at:032x}" for at in range(64)], width=40)
    row = 32 + sum(getattr(batch, name).nbytes for name in COLUMNS if isinstance(getattr(batch, name), np.ndarray)) / 64
    assert len(pickle.dumps(batch)) < 64 * (row + 5) + 200


@pytest.mark.parametrize("name", ["users", "contexts", "degraded", "energy_j"])
def test_a_column_of_other_rows_or_type_is_refused_by_name(name: str) -> None:
    batch = decisions(numbered(4))
    with pytest.raises(ValueError, match=rf"{name} is .* not .* of 4 rows"):
        replace(batch, **{name: getattr(batch, name)[:3]})
    with pytest.raises(ValueError, match=f"{name} is complex128"):
        replace(batch, **{name: getattr(batch, name).astype(complex)})


def test_numbers_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="time_s is nan"):
        decisions(numbered(2), time_s=nan)


def test_some_rows_keep_what_is_said_once_of_all() -> None:
    whole = decisions(numbered(4), BEGAN_S + 1, static_j=2.0)
    first, rest = whole.take(np.arange(4) < 3), whole.take(np.array([3]))
    assert first.request_ids + rest.request_ids == whole.request_ids
    assert (first.time_s, first.static_j, first.policy_version) == (BEGAN_S + 1, 2.0, whole.policy_version)
    assert np.array_equal(np.concatenate([first.contexts, rest.contexts]), whole.contexts)
    assert same(first, whole.take(np.arange(3)))
