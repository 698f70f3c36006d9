"""Under which limits requests were decided: told in pieces, by many, and looked up much later."""

from collections.abc import Sequence
from math import inf

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster.outcomes.budgets import Budgets


def looked_up(budgets: Budgets, *requests: tuple[int, float]) -> list[str | None]:
    versions, times_s = (np.array(column) for column in zip(*requests, strict=True))
    return [budgets.budget(number) for number in budgets.numbers(versions, times_s).tolist()]


def told(*rows: tuple[int, float, str]) -> Budgets:
    budgets = Budgets()
    for row in rows:
        budgets.know(*row)
    return budgets


@given(st.lists(st.sampled_from("xyz"), min_size=1, max_size=30), st.integers(1, 4))
def test_each_version_has_its_own_however_long_ago(of_each: Sequence[str], every: int) -> None:
    rows = [(every * at, float(at), budget) for at, budget in enumerate(of_each, start=1)]
    requests = [(version, since_s + 0.5) for version, since_s, _ in rows]
    assert looked_up(told(*rows), *requests) == list(of_each)
    assert looked_up(told(*rows, *rows[-1:]), *requests) == list(of_each), "one that is told again changes nothing"


def test_within_a_version_the_time_decides() -> None:
    budgets = told((7, 10.0, "x"), (7, 20.0, "y"), (9, 30.0, "y"), (9, 40.0, ""))
    requests = (7, 10.0), (7, 19.9), (7, 20.0), (8, 25.0), (9, 39.0), (9, 41.0)
    assert looked_up(budgets, *requests) == ["x", "x", "y", "y", "y", ""]


def test_who_tells_late_moves_at_most_the_beginning() -> None:
    budgets = told((7, 10.0, "x"), (7, 20.0, "y"), (7, 11.0, "x"), (7, 19.0, "y"), (7, 21.0, "y"))
    assert looked_up(budgets, (7, 18.0), (7, 19.5), (7, 22.0), (8, 0.0)) == ["x", "y", "y", "y"]


def test_of_too_many_changes_the_oldest_are_forgotten() -> None:
    budgets = Budgets(most=3)
    for version in range(1, 6):
        budgets.know(version, float(version), str(version))
    assert looked_up(budgets, (2, 2.0), (3, 3.0), (5, 9.0)) == [None, "3", "5"]
    assert looked_up(Budgets(), (1, 1.0)) == [None]


def test_a_version_may_have_one_from_its_beginning() -> None:
    budgets = told((7, -inf, "x"), (7, 20.0, "y"), (8, -inf, "z"))
    assert looked_up(budgets, (6, 99.0), (7, -99.0), (7, 21.0), (8, 3.0)) == [None, "x", "y", "z"]
