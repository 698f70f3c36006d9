"""Who is there, by who was heard: silence, deaths that senders notice first, starts, and stalls of the listener."""

from collections.abc import Iterable

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from small_space import SPACE

from allocator.energy.windows import Name
from cluster.accounts import Report, Totals
from cluster.availability import GRACE_WINDOWS, Roster, without

A, B, C = SPACE.variants[1], SPACE.variants[2], SPACE.variants[3]
OWN = (A, B, C)
LEAD_S = 0.1


def report(replica: str, serves: Iterable[Name] = (), absent: Iterable[Name] | None = None) -> Report:
    totals = Totals.none(0.0, 1)
    rewards = np.zeros((0, 1), np.float32)
    return Report(
        replica, totals, totals, rewards, 0, np.zeros(0), tuple(serves), None if absent is None else (*absent,)
    )


class Windows:
    """A roster that hears the same replicas in every window, and is asked at each window's end."""

    def __init__(self, own: Iterable[Name] = OWN) -> None:
        self.roster, self.now_s = Roster(tuple(own), 1.0), 0.0

    def next(self, *reports: Report) -> frozenset[Name]:
        self.now_s += 1.0
        for one in reports:
            self.roster.hear(one, self.now_s - LEAD_S)
        return self.roster.away()

    def settled(self, *reports: Report) -> frozenset[Name]:
        """After the time that variants are given to be heard of."""
        for _ in range(int(GRACE_WINDOWS) + 2):
            away = self.next(*reports)
        return away


INGRESS, OTHER = report("ingress", absent=[]), report("other", absent=[])
REPLICAS = tuple(report(f"replica-{name[1]}", serves=[name]) for name in OWN)


def test_before_anybody_was_heard_nothing_is_away() -> None:
    assert Roster(OWN, 1.0).away() == frozenset()


def test_all_are_there_while_their_replicas_report() -> None:
    assert Windows().settled(INGRESS, *REPLICAS) == frozenset()


def test_variants_inside_the_ingress_are_always_there() -> None:
    assert Windows(own=[A]).settled(INGRESS, REPLICAS[0]) == frozenset()


def test_a_variant_never_heard_of_is_away_when_its_grace_is_over() -> None:
    windows = Windows()
    assert windows.next(INGRESS, *REPLICAS[1:]) == frozenset()
    assert windows.settled(INGRESS, *REPLICAS[1:]) == {A}


def test_a_silent_replica_is_gone_after_two_windows() -> None:
    windows = Windows()
    windows.settled(INGRESS, *REPLICAS)
    assert windows.next(INGRESS, *REPLICAS[1:]) == frozenset(), "it may only be late"
    assert windows.next(INGRESS, *REPLICAS[1:]) == {A}
    assert windows.next(INGRESS, *REPLICAS) == frozenset(), "it is back"


def test_a_replica_that_is_late_and_missed_by_a_sender_is_gone_at_once() -> None:
    windows = Windows()
    windows.settled(INGRESS, OTHER, *REPLICAS)
    assert windows.next(report("ingress", absent=[A]), OTHER, *REPLICAS[1:]) == {A}


def test_one_of_several_replicas_may_die() -> None:
    windows, second = Windows(), report("second", serves=[A])
    windows.settled(INGRESS, second, *REPLICAS)
    for _ in range(4):
        assert windows.next(INGRESS, second, *REPLICAS[1:]) == frozenset()


def test_a_sender_that_alone_misses_a_variant_masks_it_for_nobody() -> None:
    windows = Windows()
    windows.settled(INGRESS, OTHER, *REPLICAS)
    assert windows.next(report("ingress", absent=[A]), OTHER, *REPLICAS) == frozenset()


def test_a_replica_that_no_sender_knows_yet_serves_nobody() -> None:
    windows = Windows()
    windows.settled(report("ingress", absent=[A]), *REPLICAS[1:])
    assert windows.next(report("ingress", absent=[A]), *REPLICAS) == {A}
    assert windows.next(INGRESS, *REPLICAS) == frozenset()


def test_a_sender_that_has_gone_is_not_asked_any_more() -> None:
    windows = Windows()
    windows.settled(INGRESS, report("other", absent=[A]), *REPLICAS)
    windows.next(INGRESS, *REPLICAS)
    assert windows.next(INGRESS, *REPLICAS) == frozenset()


def test_a_listener_that_was_held_up_takes_nobody_for_gone() -> None:
    windows = Windows()
    windows.settled(INGRESS, *REPLICAS)
    windows.now_s += 30.0
    assert windows.next() == frozenset()
    assert windows.next(INGRESS, *REPLICAS) == frozenset()


@given(st.sets(st.sampled_from(SPACE.variants)))
def test_the_chains_that_are_left_are_those_that_use_nothing_that_is_away(away: set[Name]) -> None:
    mask = without(SPACE, away)
    for chain in SPACE:
        used = {(action.stage, action.variant) for action in chain.actions}
        assert mask[chain.index] == (not used & away)
