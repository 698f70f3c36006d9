"""What was served since when, as a ledger keeps it for who audits it."""

from dataclasses import replace

from cluster.kept import served_part
from cluster.served import MOST_KEPT, SERVED, Served, continued, dumped, restored

FIRST = Served(1000.0, "0.1.0", "demo", "a" * 64, 0.02, "country FR")


def test_what_is_kept_comes_back() -> None:
    terms = (FIRST, replace(FIRST, since_s=2000.0, holdback=None))
    assert restored(dumped(terms)) == terms


def test_what_is_no_list_of_terms_is_nothing() -> None:
    for value in (None, b"", b"[]", b"{", b'{"format": 2, "terms": []}', b'{"format": 1, "terms": [{}]}'):
        assert restored(value) == ()


def test_a_restart_that_changes_nothing_adds_nothing() -> None:
    assert continued((FIRST,), replace(FIRST, since_s=2000.0)) == (FIRST,)
    other = replace(FIRST, since_s=2000.0, sha256="b" * 64)
    assert continued((FIRST,), other) == (FIRST, other)


def test_the_oldest_terms_go_first() -> None:
    terms: tuple[Served, ...] = ()
    for n in range(MOST_KEPT + 5):
        terms = continued(terms, replace(FIRST, since_s=float(n), cascade=f"cascade-{n}"))
    assert (len(terms), terms[0].since_s) == (MOST_KEPT, 5.0)


def test_a_controller_goes_on_from_the_terms_before_it() -> None:
    other = replace(FIRST, since_s=2000.0, software="0.2.0")
    part = served_part(other)
    assert restored(part.dumped()[SERVED]) == (other,)
    part.resume({SERVED: dumped((FIRST,))})
    assert restored(part.dumped()[SERVED]) == (FIRST, other)
