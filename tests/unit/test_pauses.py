"""Pauses between attempts."""

from cluster.power.pauses import Pauses


def attempts(pauses: Pauses, until_s: int, *, at_once: bool = False) -> list[int]:
    return [now_s for now_s in range(until_s) if pauses.passed(now_s, at_once=at_once)]


def test_pauses_double_up_to_the_most() -> None:
    assert attempts(Pauses(1, 8), 40) == [1, 3, 7, 15, 23, 31, 39]


def test_at_once_means_at_once_but_not_more_often_than_the_first_pause() -> None:
    assert attempts(Pauses(2, 8), 7, at_once=True) == [0, 2, 4, 6]


def test_at_once_shortens_a_pause_that_has_grown() -> None:
    pauses = Pauses(1, 60)
    assert attempts(pauses, 10) == [1, 3, 7]
    assert pauses.passed(10, at_once=True)
