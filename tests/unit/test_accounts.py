"""The controller's books: whatever happens to reports, nothing is lost and nothing is billed twice."""

from dataclasses import replace
from functools import reduce

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.accounts import Books, Report, Totals, closed, heard, opened
from cluster.work import NO_WORK, Counts, work_sum

CHAINS = 3
NO_ROWS = np.empty((0, CHAINS), np.float32)


def totals(at_s: float, executed: list[int], decided: int = 0) -> Totals:
    return Totals(at_s, np.array(executed), decided)


def report(name: str, now: Totals, acked: Totals | None = None, rewards: np.ndarray = NO_ROWS) -> Report:
    return Report(name, now, acked or Totals.none(0.0, CHAINS), rewards, 0, np.zeros(0))


class Replica:
    """Counts, and keeps what was answered, as `cluster.follower` does."""

    def __init__(self, name: str, now_s: float) -> None:
        self.name = name
        self.now = self.acked = Totals.none(now_s, CHAINS)

    def work(self, chain: int, count: int, now_s: float) -> None:
        executed = self.now.executed.copy()
        executed[chain] += count
        ran = {("rank", f"v{chain}", "here/cpu"): Counts(calls=1, items=count, busy_s=count / 8)}
        work = work_sum(self.now.work, ran)
        took, energies = self.now.took.copy(), self.now.energies.copy()
        took[chain] += count
        energies[chain] += count
        told = Totals(now_s, executed, self.now.decided + count, self.now.handed + 10 * count, work)
        self.now = replace(told, took=took, predicted=self.now.predicted + 0.5 * count, energies=energies)

    def report(self) -> Report:
        return report(self.name, self.now, self.acked)


EVENT = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["arrives", "is lost", "answer is lost", "comes twice", "comes late", "replica is replaced"]),
    st.integers(0, CHAINS - 1),
    st.integers(0, 50),
)


@given(events=st.lists(EVENT, max_size=40))
def test_what_is_billed_is_what_was_executed_as_of_each_replica_s_last_report(
    events: list[tuple[int, str, int, int]],
) -> None:
    replicas = [Replica(f"r{n}", 0.0) for n in range(3)]
    books, delivered, old = opened(CHAINS), dict[str, Totals](), list[Report]()
    for step, (who, fate, chain, count) in enumerate(events):
        replica = replicas[who]
        replica.work(chain, count, step + 1.0)
        sent = replica.report()
        if fate == "is lost":
            continue
        if fate == "replica is replaced":
            replicas[who] = Replica(f"r{who}.{step}", step + 1.0)
            continue
        books = heard(books, sent, step + 1.0)
        delivered[sent.replica] = sent.totals
        old.append(sent)
        if fate == "comes twice":
            books = heard(books, sent, step + 1.0)
        if fate == "comes late":
            books = heard(books, old[0], step + 1.0)
        if fate != "answer is lost":
            replica.acked = sent.totals
        _, books = closed(books, step + 1.0, 1.0)
    expected = sum((totals.executed for totals in delivered.values()), np.zeros(CHAINS, np.int64))
    assert books.billed.tolist() == expected.tolist()
    assert books.handed == 10 * expected.sum()
    assert books.took[:CHAINS].tolist() == expected.tolist()
    assert books.predicted == 0.5 * expected.sum()
    assert books.energies[:CHAINS].tolist() == expected.tolist()
    assert books.work == reduce(work_sum, (totals.work for totals in delivered.values()), NO_WORK)


@given(counts=st.lists(st.integers(0, 50), min_size=1, max_size=12), dies=st.integers(0, 12))
def test_a_controller_that_is_restarted_bills_on_where_the_last_one_answered(counts: list[int], dies: int) -> None:
    replica, billed, books = Replica("r", 0.0), np.zeros(CHAINS, np.int64), opened(CHAINS)
    for step, count in enumerate(counts):
        if step == dies:
            billed, books = billed + books.billed, opened(CHAINS)
        replica.work(step % CHAINS, count, step + 1.0)
        sent = replica.report()
        books = heard(books, sent, step + 1.0)
        replica.acked = sent.totals
    assert (billed + books.billed).tolist() == replica.now.executed.tolist()


def test_counters_that_go_backwards_bill_nothing_negative() -> None:
    books = heard(opened(CHAINS), report("r", totals(1.0, [5, 5, 5])), 1.0)
    books = heard(books, report("r", totals(2.0, [7, 0, 5])), 2.0)
    assert books.billed.tolist() == [7, 5, 5]
    window, _ = closed(books, 2.0, 1.0)
    assert (window.executed_per_s >= 0).all()


def test_a_window_adds_up_the_rates_of_all_replicas() -> None:
    books = heard(opened(CHAINS), report("a", totals(1.0, [10, 0, 0], 8)), 1.0)
    books = heard(books, report("b", totals(1.0, [0, 6, 0], 6)), 1.0)
    window, _ = closed(books, 1.0, 1.0)
    assert window.executed_per_s.tolist() == [10, 6, 0]
    assert window.decided_per_s == 14


def test_a_window_adds_up_those_that_no_policy_decided_a_second_of_each_replicas_clock() -> None:
    def told(at_s: float, executed: list[int], unpriced: list[int]) -> Totals:
        return replace(totals(at_s, executed, 1), unpriced=np.array(unpriced))

    books = heard(opened(CHAINS), report("a", told(1.0, [10, 0, 0], [4, 0, 0])), 1.0)
    books = heard(books, report("b", totals(1.0, [0, 6, 0], 6)), 1.0)
    window, books = closed(books, 1.0, 1.0)
    assert np.broadcast_to(window.unpriced_per_s, CHAINS).tolist() == [4, 0, 0]
    books = heard(books, report("a", told(3.0, [20, 0, 0], [4, 0, 6])), 3.0)
    books = heard(books, report("b", told(3.0, [0, 16, 0], [0, 10, 0])), 3.0)
    window, _ = closed(books, 3.0, 2.0)
    assert np.broadcast_to(window.unpriced_per_s, CHAINS).tolist() == [0, 5, 3]


def test_a_report_that_covers_several_windows_makes_no_peak() -> None:
    books = heard(opened(CHAINS), report("a", totals(1.0, [10, 0, 0], 10)), 1.0)
    _, books = closed(books, 1.0, 1.0)
    books = heard(books, report("a", totals(5.0, [50, 0, 0], 50)), 5.0)
    window, books = closed(books, 5.0, 1.0)
    assert window.executed_per_s.tolist() == [10, 0, 0]
    assert books.billed.tolist() == [50, 0, 0]


def test_a_replica_whose_report_is_late_counts_on_for_a_window_and_a_silent_one_no_longer() -> None:
    books = heard(opened(CHAINS), report("a", totals(1.0, [10, 0, 0], 10)), 0.9)
    seen = []
    for now_s in (1.0, 2.0, 3.0, 4.0):
        window, books = closed(books, now_s, 1.0)
        seen.append(window.decided_per_s)
    assert seen == [10, 10, 0, 0]
    assert books.billed.tolist() == [10, 0, 0]


def test_a_replica_that_has_been_silent_for_long_leaves_the_books_and_stays_billed() -> None:
    books = heard(opened(CHAINS), report("a", totals(1.0, [10, 0, 0], 10)), 0.0)
    _, books = closed(books, 3601.0, 1.0)
    assert not books.accounts
    assert books.billed.tolist() == [10, 0, 0]


def rows(value: float, count: int) -> np.ndarray:
    return np.full((count, CHAINS), value, np.float32)


@pytest.mark.parametrize(("busy", "idle", "expected"), [(640, 64, 6), (64, 64, 64), (640, 0, 0), (6400, 3, 1)])
def test_replicas_are_sampled_by_their_share_of_the_decisions(busy: int, idle: int, expected: int) -> None:
    books = heard(opened(CHAINS), report("busy", totals(1.0, [busy, 0, 0], busy), rewards=rows(1, 64)), 1.0)
    sample = rows(2, min(idle, 64))
    books = heard(books, report("idle", totals(1.0, [idle, 0, 0], idle), rewards=sample), 1.0)
    window, _ = closed(books, 1.0, 1.0)
    values = window.rewards[:, 0].tolist()
    assert values.count(2.0) == expected
    assert values.count(1.0) == 64


def test_a_sample_is_used_by_one_window_only() -> None:
    books = heard(opened(CHAINS), report("a", totals(1.0, [4, 0, 0], 4), rewards=rows(1, 4)), 1.0)
    first, books = closed(books, 1.0, 1.0)
    second, _ = closed(books, 1.5, 1.0)
    assert (len(first.rewards), len(second.rewards)) == (4, 0)


def test_books_are_never_changed_in_place() -> None:
    before: Books = heard(opened(CHAINS), report("a", totals(1.0, [1, 0, 0])), 1.0)
    heard(before, report("a", totals(2.0, [9, 0, 0])), 2.0)
    closed(before, 2.0, 1.0)
    assert before.billed.tolist() == [1, 0, 0]
    assert before.accounts["a"].totals.executed.tolist() == [1, 0, 0]
