"""Who owns which reward model predicts: one at a time, kept with who and when, or nothing changes."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from promoting import BROKEN, KNOWN, OWN, A, B, C, Locked, desk_on, name, opened

from cluster.ledger.marks import State
from cluster.ledger.store import Ledger
from cluster.promotion.desk import ModelDesk
from cluster.promotion.kept import FORMAT, KEY, SLOTS
from models.errors import FixRequest, NoSuch, TryAgain


def said(desk: ModelDesk) -> tuple[str, str | None]:
    current, previous = desk.terms
    return current.model.name, None if previous is None else previous.model.name


def test_the_cascades_own_predicts_from_the_start_and_none_did_before() -> None:
    desk = opened(Ledger.open(None))
    assert said(desk) == (name(OWN), None)
    assert (desk.current.author, desk.current.since_s) == ("", None)
    with pytest.raises(NoSuch, match="none to go back to"):
        desk.back("anna", 1.0)


def test_one_that_is_promoted_predicts_and_the_one_before_returns() -> None:
    desk = opened(Ledger.open(None))
    desk.put(A, "anna", 10.0)
    assert said(desk) == (name(A), name(OWN))
    assert (desk.current.author, desk.current.since_s, desk.is_own(desk.current.model)) == ("anna", 10.0, False)
    assert desk.current.model.known[0, 0] == len(A), "prices start from what it predicts itself"
    assert (desk.content(name(A)), desk.content(name(OWN))) == (A, OWN)
    desk.back("bo", 20.0)
    assert said(desk) == (name(OWN), name(A))
    assert (desk.current.author, desk.current.since_s, desk.is_own(desk.current.model)) == ("bo", 20.0, True)
    desk.back("bo", 30.0)
    assert said(desk) == (name(A), name(OWN)), "once more, and it is as it was"


def test_the_same_again_changes_nothing() -> None:
    desk = opened(Ledger.open(None))
    desk.put(OWN, "anna", 5.0)
    assert said(desk) == (name(OWN), None)
    desk.put(A, "anna", 10.0)
    desk.put(A, "bo", 20.0)
    assert (said(desk), desk.current.author, desk.current.since_s) == ((name(A), name(OWN)), "anna", 10.0)


def test_only_the_present_one_and_the_one_before_can_be_had() -> None:
    desk = opened(Ledger.open(None))
    for content in (A, B):
        desk.put(content, "anna", 1.0)
    assert desk.content(name(A)) == A
    with pytest.raises(NoSuch, match="nor the one before"):
        desk.content(name(OWN))


CHANGES = st.lists(st.sampled_from([OWN, A, B, C, None]), max_size=12)


@given(changes=CHANGES)
def test_a_controller_that_starts_anew_goes_on_wherever_the_last_one_stood(changes: list[bytes | None]) -> None:
    ledger = Ledger.open(None)
    desk, expected = opened(ledger), [OWN, None]
    for at_s, content in enumerate(changes, start=1):
        if content is None and expected[1] is None:
            continue
        if content is None:
            desk.back("anna", at_s)
            expected.reverse()
        else:
            desk.put(content, "anna", at_s)
            expected = expected if content == expected[0] else [content, expected[0]]
        again = opened(ledger)
        assert said(again) == said(desk) == (name(expected[0]), None if expected[1] is None else name(expected[1]))
        assert again.current.since_s == desk.current.since_s
        for one in expected:
            assert one is None or again.content(name(one)) == one
        desk = again if at_s % 2 else desk


def test_it_is_in_the_file_with_who_and_when_before_it_predicts(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file)
    opened(ledger).put(A, "anna", 10.0)
    ledger.close()
    ledger = Ledger.open(file)
    kept = ledger.state(KEY)
    assert kept is not None
    assert (kept.author, kept.at_s) == ("anna", 10.0)
    assert said(opened(ledger)) == (name(A), name(OWN))
    ledger.close()


def test_what_is_no_reward_model_is_refused_and_nothing_changes() -> None:
    ledger = Ledger.open(None)
    desk = opened(ledger)
    with pytest.raises(FixRequest, match=r"body: is no reward model of this cascade: reward: predicts NaN") as caught:
        desk.put(BROKEN, "anna", 1.0)
    assert caught.value.field == "body"
    assert (said(desk), ledger.state(KEY)) == ((name(OWN), None), None)


@pytest.mark.parametrize("reads", [True, False])
def test_while_the_ledger_is_locked_nothing_changes_and_it_may_be_tried_again(reads: bool) -> None:
    ledger = Locked()
    desk = opened(ledger) if reads else desk_on(ledger)
    if reads:
        desk.put(A, "anna", 1.0)
    before = said(desk)
    ledger.writes, ledger.reads = False, reads
    with pytest.raises(TryAgain):
        desk.put(B, "bo", 2.0)
    with pytest.raises(TryAgain):
        desk.back("bo", 2.0)
    assert said(desk) == before
    ledger.writes = ledger.reads = True
    desk.put(B, "bo", 3.0)
    assert said(opened(ledger)) == said(desk) == (name(B), name(A) if reads else name(OWN))


def test_what_was_promoted_is_taken_up_late_where_the_ledger_cannot_be_read_at_first(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Locked()
    opened(ledger).put(A, "anna", 1.0)
    ledger.reads = False
    desk = desk_on(ledger)
    assert [desk.take_up(2.0), desk.take_up(3.0)] == [False, False]
    assert said(desk) == (name(OWN), None)
    assert caplog.text.count("is not known") == 1
    ledger.reads = True
    assert desk.take_up(4.0)
    assert said(desk) == (name(A), name(OWN))


def test_a_cascade_with_another_model_of_its_own_wins_and_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger.open(None)
    opened(ledger).put(A, "anna", 1.0)
    for _ in range(2):
        assert said(opened(ledger, own=C)) == (name(C), None)
    assert caplog.text.count("as the cascade has it now") == 1
    assert name(A) in caplog.text
    assert said(opened(ledger)) == (name(OWN), None), "what was promoted over another is forgotten"
    assert [state.value for slot in SLOTS if (state := ledger.state(slot)) is not None] == [b"", b""]


def test_a_candidate_that_has_become_the_cascades_own_goes_on_quietly(caplog: pytest.LogCaptureFixture) -> None:
    ledger = Ledger.open(None)
    opened(ledger).put(A, "anna", 1.0)
    caplog.clear()
    assert said(opened(ledger, own=A)) == (name(A), None)
    assert caplog.text == ""


@pytest.mark.parametrize("kept", [b"", b"half of it"])
def test_a_model_that_was_lost_or_damaged_gives_way_to_the_cascades_own(
    kept: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger.open(None)
    opened(ledger).put(A, "anna", 1.0)
    ledger.remember([State(slot, kept, FORMAT, 1.0) for slot in SLOTS])
    desk = opened(ledger)
    assert said(desk) == (name(OWN), None)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    desk.put(B, "anna", 2.0)
    assert said(opened(ledger)) == (name(B), name(OWN))


def test_without_the_one_before_the_present_one_still_predicts() -> None:
    ledger = Ledger.open(None)
    desk = opened(ledger)
    desk.put(A, "anna", 1.0)
    desk.put(B, "anna", 2.0)
    ledger.remember([State(SLOTS[0], b"lost", FORMAT, 1.0)])
    desk = opened(ledger)
    assert said(desk) == (name(B), None)
    desk.put(A, "anna", 3.0)
    assert said(opened(ledger)) == (name(A), name(B)), "what was lost is kept anew"


@pytest.mark.parametrize("state", [(b"{}", FORMAT), (b"nonsense", FORMAT), (b"{}", FORMAT + 1)])
def test_what_a_later_version_has_kept_is_not_written_over(
    state: tuple[bytes, int], caplog: pytest.LogCaptureFixture
) -> None:
    ledger = Ledger.open(None)
    ledger.remember([State(KEY, *state, 1.0)])
    desk = desk_on(ledger)
    assert not desk.take_up(1.0)
    with pytest.raises(TryAgain, match="move the ledger aside"):
        desk.put(A, "anna", 2.0)
    assert ledger.state(KEY) == State(KEY, *state, 1.0)
    assert KNOWN is desk.current.model.known
