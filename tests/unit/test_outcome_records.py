"""What the ingress ships of its decisions: columns that fit together, and travel as little more than their bytes."""

import pickle
from dataclasses import fields, replace
from math import isnan, nan

import numpy as np
import pytest
from outcome_rows import BEGAN_S, decisions, numbered

from cluster.outcomes.records import Decisions, joined

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


def test_put_together_rows_keep_their_order_and_sums_over_them_stay() -> None:
    parts = [decisions(numbered(3), BEGAN_S, static_j=1.0), decisions(numbered(1, "s"), BEGAN_S + 4, static_j=5.0)]
    whole = Decisions.concat(parts)
    assert whole.request_ids == ("r0", "r1", "r2", "s0")
    assert whole.static_j * 4 == 3 * 1.0 + 5.0
    assert whole.time_s == BEGAN_S + 1
    assert np.array_equal(whole.contexts, np.concatenate([part.contexts for part in parts]))
    assert same(whole.take(np.arange(4) < 3), replace(parts[0], static_j=2.0, time_s=BEGAN_S + 1))


def test_what_is_unknown_of_one_is_unknown_of_all() -> None:
    whole = Decisions.concat([decisions(numbered(3)), decisions(numbered(1, "s"), grams_per_j=nan)])
    assert isnan(whole.grams_per_j)
    assert whole.static_j == 2.0


def test_different_policies_and_widths_do_not_go_together() -> None:
    one = decisions(numbered(3))
    for other in (decisions(numbered(1, "s"), policy_version=8), decisions(numbered(1, "s"), width=0)):
        with pytest.raises(ValueError, match="of policies"):
            Decisions.concat([one, other])
    with pytest.raises(ValueError, match="none"):
        Decisions.concat([])


def test_joining_goes_as_far_as_rows_are_alike_and_loses_none() -> None:
    versions = (7, 7, 8, 8, 8, 7)
    batches = [decisions(numbered(2, f"{at}-"), policy_version=version) for at, version in enumerate(versions)]
    batches.append(decisions(numbered(1, "u"), policy_version=7, static_j=nan))
    found = joined(batches)
    assert [(len(one), one.policy_version) for one in found] == [(4, 7), (6, 8), (2, 7), (1, 7)]
    assert [one for part in found for one in part.request_ids] == [one for part in batches for one in part.request_ids]
