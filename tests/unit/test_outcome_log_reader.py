"""A log read back: every decision with what it earned, in order of time, or a line that says which file is wrong."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outcome_rows import BEGAN_S, CHAINS, HEAD, decisions, numbered

from cluster.outcomes.joiner import Joiner
from cluster.outcomes.log import FileLog
from cluster.outcomes.log_reader import LoggedRows, read_log, read_policies
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.log_tables import Head, hex_of, marks_of
from cluster.outcomes.records import Decisions, Reward
from models.errors import FixFile, FixRequest


def opened(folder: Path, writer: str = "w", head: Head = HEAD, now_s: float = BEGAN_S) -> FileLog:
    return FileLog(LogSettings(folder=folder), head, writer, now_s)


def written(folder: Path, *batches: Decisions, head: Head = HEAD, writer: str = "w", at_s: float = 1000.0) -> None:
    log = opened(folder, writer, head)
    for batch in batches:
        log.add_decisions(batch)
    log.flush(BEGAN_S + at_s, everything=True)


def test_rows_come_back_as_they_were_decided(tmp_path: Path) -> None:
    batches = [decisions(numbered(7, f"{at}-"), BEGAN_S + at, policy_version=at) for at in range(5)]
    written(tmp_path, *batches)
    rows = read_log(tmp_path, horizon_s=10.0)
    for name in ("users", "arms", "contexts", "chains", "propensities", "predicted", "flops", "energy_j"):
        found, sent = getattr(rows, name), np.concatenate([getattr(batch, name) for batch in batches])
        assert found.dtype == sent.dtype
        assert np.array_equal(found, sent, equal_nan=found.dtype.kind == "f"), name
    assert rows.times_s.tolist() == [BEGAN_S + at for at in range(5) for _ in range(7)]
    assert rows.policy_versions.tolist() == [at for at in range(5) for _ in range(7)]
    assert (rows.cascade, rows.reward_model, rows.chain_ids) == ("cascade-1", "model-1", HEAD.chains)
    assert not rows.rewards.any()


def test_a_reward_counts_within_the_horizon_and_the_first_of_several(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add_decisions(decisions(numbered(4)))
    log.add_outcomes([Reward("r0", 2.0, BEGAN_S + 10), Reward("r1", 3.0, BEGAN_S + 10.1), Reward("r2", -1.0, BEGAN_S)])
    log.flush(BEGAN_S + 20, everything=True)
    log.add_outcomes([Reward("r0", 9.0, BEGAN_S + 5), Reward("nobody's", 9.0, BEGAN_S + 5)])
    log.flush(BEGAN_S + 30, everything=True)
    assert read_log(tmp_path, horizon_s=10.0).rewards.tolist() == [2.0, 0.0, -1.0, 0.0]
    assert read_log(tmp_path, horizon_s=11.0).rewards.tolist() == [2.0, 3.0, -1.0, 0.0]


def test_rewards_count_for_as_long_as_they_did_when_they_were_logged(tmp_path: Path) -> None:
    for at, horizon_s in enumerate((7200.0, 60.0)):
        log = opened(tmp_path, f"w{at}", replace(HEAD, horizon_s=horizon_s), BEGAN_S + 10_000 * at)
        log.add_decisions(decisions(numbered(3, f"{at}-"), BEGAN_S + 10_000 * at))
        log.add_outcomes([Reward(f"{at}-0", 1.0, BEGAN_S + 10_000 * at + 0.9 * horizon_s)])
        log.flush(BEGAN_S + 10_000 * (at + 1), everything=True)
    early, both = read_log(tmp_path, until_s=BEGAN_S + 5000), read_log(tmp_path)
    assert (early.horizon_s, early.horizons_s, early.rewards.sum()) == (7200.0, (7200.0,), 1.0)
    assert (both.horizon_s, both.horizons_s, both.rewards.sum()) == (60.0, (60.0, 7200.0), 1.0)
    assert read_log(tmp_path, horizon_s=30.0).horizon_s == 30.0
    with pytest.raises(FixRequest, match=r"horizon: 1800 s is longer than feedback\.horizon_s was, 60 s"):
        read_log(tmp_path, horizon_s=1800.0)


def test_where_no_file_says_a_horizon_it_is_half_an_hour_and_may_be_any(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3)), at_s=10_000.0)
    rows = read_log(tmp_path)
    assert (len(rows), rows.horizon_s, rows.horizons_s) == (3, 1800.0, ())
    assert read_log(tmp_path, horizon_s=7200.0).horizon_s == 7200.0


def test_contexts_whose_numbers_mean_something_else_are_left_out_and_counted(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3, "old")), head=replace(HEAD, codes="of fewer items"), writer="a")
    written(tmp_path, decisions(numbered(4, "new"), BEGAN_S + 1), head=replace(HEAD, codes="now"), writer="b")
    written(tmp_path, decisions(numbered(5, "any"), BEGAN_S + 2), writer="c")
    rows = read_log(tmp_path, horizon_s=10.0, codes="now")
    assert (rows.times_s - BEGAN_S).tolist() == [1.0] * 4 + [2.0] * 5, "of a file that does not say it nothing is known"
    assert rows.others == 3
    everything = read_log(tmp_path, horizon_s=10.0)
    assert (len(everything), everything.others) == (12, 0)
    none = read_log(tmp_path, horizon_s=10.0, codes="now", until_s=BEGAN_S + 1)
    assert (len(none), none.others) == (0, 3)


def test_rows_are_left_out_until_their_horizon_is_over_though_some_have_earned(tmp_path: Path) -> None:
    """Else those that earn would be there, and those that do not would lack."""
    log = opened(tmp_path)
    for at in range(10):
        log.add_decisions(decisions(numbered(2, f"{at}-"), BEGAN_S + at))
        log.add_outcomes([Reward(f"{at}-0", 1.0, BEGAN_S + at)])
    log.flush(BEGAN_S + 9, everything=True)
    rows = read_log(tmp_path, horizon_s=5.0)
    assert rows.times_s.max() == BEGAN_S + 4
    assert rows.rewards.mean() == 0.5
    unripe = read_log(tmp_path, horizon_s=5.0, unripe=True)
    assert len(unripe) == len(rows) + 5
    assert unripe.rewards.sum() == 10


def test_rows_around_a_time_in_which_outcomes_were_lost_are_left_out(tmp_path: Path) -> None:
    """A writer listens until 100 s, and its last file says so; the next one listens from 300 s on."""
    for writer, since in (("a", 0), ("b", 300)):
        log = opened(tmp_path, writer, now_s=BEGAN_S + since)
        for at in range(since, since + 110, 10):
            log.add_decisions(decisions(numbered(1, f"{writer}{at}-"), BEGAN_S + at))
            if at == since + 100:
                log.flush(BEGAN_S + at, everything=True)
    log.flush(BEGAN_S + 500, everything=True)
    rows = read_log(tmp_path, horizon_s=50.0)
    assert (rows.times_s - BEGAN_S).tolist() == [*range(0, 60, 10), *range(300, 360, 10)]
    assert len(read_log(tmp_path, horizon_s=0.0)) == 22


def test_outcomes_that_memory_could_not_hold_leave_a_gap(tmp_path: Path) -> None:
    log = FileLog(LogSettings(folder=tmp_path, rotate_rows=100), HEAD, "w", BEGAN_S)
    log.add_decisions(decisions(numbered(200)))
    log.add_outcomes([Reward("r0", 1.0, BEGAN_S + 1)])
    log.flush(BEGAN_S + 100, everything=True)
    assert log.counts.dropped["outcomes"] == 1
    log.add_decisions(decisions(numbered(5, "s"), BEGAN_S + 100))
    log.flush(BEGAN_S + 200, everything=True)
    assert len(read_log(tmp_path, horizon_s=10.0)) == 5


def test_outcomes_that_were_lost_between_two_files_leave_a_gap_however_near_these_are(tmp_path: Path) -> None:
    """Files come every ten seconds; a reward is lost from 12 s to 20 s, while memory is full."""
    log = FileLog(LogSettings(folder=tmp_path, rotate_rows=100), HEAD, "w", BEGAN_S)
    batches = {0: numbered(5, "a"), 12: numbered(200, "b"), 15: numbered(5, "c"), 22: numbered(5, "d"), 32: ("e",)}
    for second in range(41):
        if second != 15 and second in batches:
            log.add_decisions(decisions(batches[second], BEGAN_S + second))
        if second == 13:
            log.add_outcomes([Reward("b0", 1.0, BEGAN_S + second)])
        if second == 21:  # it comes late
            log.add_decisions(decisions(batches[15], BEGAN_S + 15))
        if second and second % 10 == 0:
            log.flush(BEGAN_S + second, everything=True)
    assert log.counts.dropped["outcomes"] == 1
    assert set(read_log(tmp_path, horizon_s=3.0).times_s - BEGAN_S) == {0, 22, 32}
    assert set(read_log(tmp_path, horizon_s=11.0).times_s - BEGAN_S) == {22}, "but for the end of the log"


def test_a_loss_is_said_also_where_the_disk_was_full_when_it_should_have_been(tmp_path: Path) -> None:
    log = FileLog(LogSettings(folder=tmp_path, rotate_rows=100), HEAD, "w", BEGAN_S)
    log.add_decisions(decisions(numbered(5, "a")))
    log.flush(BEGAN_S + 10, everything=True)
    log.add_decisions(decisions(numbered(200, "b"), BEGAN_S + 12))
    log.add_outcomes([Reward("b0", 1.0, BEGAN_S + 13)])
    (tmp_path / "decisions").rename(tmp_path / "aside")
    (tmp_path / "outcomes").rename(tmp_path / "away")
    (tmp_path / "outcomes").touch()
    log.flush(BEGAN_S + 20, everything=True)
    assert log.counts.error is not None
    (tmp_path / "outcomes").unlink()
    (tmp_path / "away").rename(tmp_path / "outcomes")
    (tmp_path / "aside").rename(tmp_path / "decisions")
    log.flush(BEGAN_S + 30, everything=True)
    assert set(read_log(tmp_path, horizon_s=3.0).times_s - BEGAN_S) == {0}


@pytest.mark.parametrize(("horizon_s", "rows"), [(1800.0, 6), (80.0, 3)])
def test_a_restart_that_is_short_beside_the_horizon_costs_no_rows(tmp_path: Path, horizon_s: float, rows: int) -> None:
    for writer, since, hears_s in (("a", 0.0, 100.0), ("b", 130.0, 2000.0)):
        log = opened(tmp_path, writer, now_s=BEGAN_S + since)
        log.add_decisions(decisions(numbered(3, writer), BEGAN_S + since + 50))
        log.flush(BEGAN_S + since + hears_s, everything=True)
    assert len(read_log(tmp_path, horizon_s=horizon_s)) == rows


def test_an_id_that_is_used_again_gets_what_its_own_request_has_earned(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for day, earned in enumerate((5.0, None, 3.0)):
        at_s = BEGAN_S + 10_000.0 * day
        log.add_decisions(decisions(("session", f"other-{day}"), at_s))
        log.add_outcomes([] if earned is None else [Reward("session", earned, at_s + 7.0)])
    log.flush(BEGAN_S + 40_000, everything=True)
    assert read_log(tmp_path, horizon_s=60.0).rewards.tolist() == [5.0, 0.0, 0.0, 0.0, 3.0, 0.0]


def test_rows_are_chosen_by_time_and_files_outside_are_not_read(tmp_path: Path) -> None:
    for at in range(5):
        written(tmp_path, decisions(numbered(3, f"{at}-"), BEGAN_S + at), writer=f"w{at}")
    rows = read_log(tmp_path, since_s=BEGAN_S + 1, until_s=BEGAN_S + 3, horizon_s=10.0)
    assert sorted(set(rows.times_s - BEGAN_S)) == [1, 2]
    assert len(rows) == 6
    assert len(read_log(tmp_path, since_s=BEGAN_S + 100, horizon_s=1.0)) == 0


def test_several_writers_and_what_joined_in_between_make_one_log(tmp_path: Path) -> None:
    """As served: decisions of two ingresses, a joiner, and a log; what matured is what is read."""
    logs, joiner, rng = [opened(tmp_path, name) for name in "ab"], Joiner(horizon_s=20.0), np.random.default_rng(0)
    matured = []
    for second in range(100):
        batch = decisions(numbered(10, f"{second}-"), BEGAN_S + second)
        late = second - int(rng.integers(0, 30))
        step = joiner.step([batch], [Reward(f"{late}-{second % 10}", 1.0 + second, BEGAN_S + second)], BEGAN_S + second)
        matured.append(step.matured.rewards)
        for one in step.decisions:
            logs[second % 2].add_decisions(one)
        logs[0].add_outcomes(step.rewards)
    matured.append(joiner.step([], [], BEGAN_S + 200).matured.rewards)
    for log in logs:
        log.flush(BEGAN_S + 200, everything=True)
    rows = read_log(tmp_path, horizon_s=20.0)
    assert np.array_equal(np.diff(rows.times_s) >= 0, np.ones(999, bool))
    sums = np.add.reduceat(np.concatenate(matured), np.arange(0, 1000, 10))
    assert np.add.reduceat(rows.rewards, np.arange(0, 1000, 10)).tolist() == sums.tolist()


def test_what_could_not_wait_for_its_reward_has_it_in_the_log(tmp_path: Path) -> None:
    """Ten requests a second wait for 20 s in memory for 100 of them; every reward comes after 12 s."""
    log, joiner = opened(tmp_path), Joiner(horizon_s=20.0, most=100, early_s=5.0)
    for second in range(100):
        batch = decisions(numbered(10, f"{second}-"), BEGAN_S + second)
        rewards = [Reward(f"{second - 12}-{at}", 1.0, BEGAN_S + second) for at in range(10)] if second >= 12 else []
        step = joiner.step([batch], rewards, BEGAN_S + second)
        log.add_decisions(batch)
        log.add_outcomes((*step.rewards, *step.missed, *step.strays))
    log.flush(BEGAN_S + 100, everything=True)
    rows = read_log(tmp_path, horizon_s=20.0)
    assert len(rows) > 500
    assert (rows.rewards == 1.0).all()


def test_contexts_that_were_not_logged_are_nan(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3), width=4), decisions(numbered(2, "s"), BEGAN_S + 1, width=0), writer="a")
    written(tmp_path, decisions(numbered(1, "t"), BEGAN_S + 2, width=0), writer="b")
    contexts = read_log(tmp_path, horizon_s=1.0).contexts
    assert np.isnan(contexts).all(1).tolist() == [False] * 3 + [True] * 3
    written(tmp_path, decisions(numbered(1, "u"), BEGAN_S + 3, width=5), writer="c")
    with pytest.raises(FixFile, match=r"-a-\d+\.parquet: context: has 4 numbers a row, and .*-c-.* has 5"):
        read_log(tmp_path, horizon_s=1.0)


def test_a_newer_reward_model_is_no_other_log_but_another_cascade_is(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3)), writer="a")
    written(tmp_path, decisions(numbered(3, "s"), BEGAN_S + 1), head=replace(HEAD, reward_model="m-2"), writer="b")
    assert read_log(tmp_path, horizon_s=1.0).reward_model == "m-2"
    written(tmp_path, decisions(numbered(3, "t"), BEGAN_S + 2), head=replace(HEAD, cascade="other"), writer="c")
    with pytest.raises(FixFile, match=r"decisions-.*-a-\d+\.parquet: cascade: is not that of .*-c-"):
        read_log(tmp_path, horizon_s=1.0)


def test_each_row_knows_the_reward_model_that_it_was_decided_by(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3), BEGAN_S + 1), writer="a")
    written(tmp_path, decisions(numbered(2, "s")), head=replace(HEAD, reward_model="m-2"), writer="b")
    rows = read_log(tmp_path, horizon_s=1.0)
    assert [rows.reward_models[at] for at in rows.models] == ["m-2"] * 2 + ["model-1"] * 3


def test_another_chain_space_is_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3)), writer="a")
    written(tmp_path, decisions(numbered(3, "s"), BEGAN_S + 1), head=replace(HEAD, chains=("x", "y")), writer="b")
    with pytest.raises(FixFile, match=r"-a-\d+\.parquet: chains: its 5 chains are not the 2 of .*-b-"):
        read_log(tmp_path, horizon_s=1.0)


def test_a_folder_without_a_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match="holds no log"):
        read_log(tmp_path, horizon_s=1.0)
    found = read_policies(tmp_path)
    assert (len(found), found.penalties.shape) == (0, (0, 0))


def rewritten(folder: Path, change: str, column: object = None, metadata: dict[str, str] | None = None) -> None:
    """The one file of decisions, with a column that is another or none, or other metadata."""
    (path,) = (folder / "decisions").glob("*.parquet")
    table = pq.read_table(path, partitioning=None)
    said = {**table.schema.metadata, **{key.encode(): value.encode() for key, value in (metadata or {}).items()}}
    if change and column is None:
        table = table.drop_columns([change])
    elif change:
        table = table.set_column(table.column_names.index(change), change, column)
    pq.write_table(table.replace_schema_metadata(said), path)


WRONG = {
    "is of format 2": ("", None, {"format": "2"}),
    "chains must be a list": ("", None, {"chains": "{}"}),
    "horizon_s must be a number of seconds": ("", None, {"horizon_s": "nan"}),
    "chain: has no such column": ("chain", None, None),
    "chain: must be from 0 to 4": ("chain", pa.array(np.array([0, 1, 5], np.int32)), None),
    "arm: must be one of policy, holdback, named": ("arm", pa.array(["policy", "control", "named"]), None),
    "user: .*16 hexadecimal digits": ("user", pa.array(["a", "b", "c"]), None),
    "propensity: lacks values": ("propensity", pa.array([0.5, None, 0.5], pa.float32()), None),
    "cannot be read": ("chain", pa.array(["a", "b", "c"]), None),
    "context: must be lists of one length": ("context", pa.array([[1.0], [2.0, 3.0], []]), None),
}


@pytest.mark.parametrize("said", WRONG)
def test_what_is_wrong_with_a_file_is_said_with_its_name(tmp_path: Path, said: str) -> None:
    written(tmp_path, decisions(numbered(3)))
    rewritten(tmp_path, *WRONG[said])
    with pytest.raises(FixFile, match=rf"decisions-.*\.parquet: .*{said}"):
        read_log(tmp_path, horizon_s=1.0)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a letter to my aunt" * 100])
def test_a_file_that_is_none_of_the_log_s_is_named(tmp_path: Path, content: bytes) -> None:
    written(tmp_path, decisions(numbered(3)))
    (tmp_path / "decisions" / "letter.parquet").write_bytes(content)
    with pytest.raises(FixFile, match=r"letter\.parquet: is no file of this log: .*move it aside"):
        read_log(tmp_path, horizon_s=1.0)


def test_what_is_being_written_and_other_kinds_of_files_are_not_read(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3)))
    (tmp_path / "decisions" / ".half.parquet").write_bytes(b"PAR1")
    (tmp_path / "decisions" / "notes.txt").write_bytes(b"mine")
    assert len(read_log(tmp_path, horizon_s=1.0)) == 3


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_marks_are_the_same_after_sixteen_digits(marks: list[int]) -> None:
    numbers = np.array(marks, np.uint64)
    column = hex_of(numbers)
    assert column.to_pylist() == [f"{mark:016x}" for mark in marks]
    assert np.array_equal(marks_of(column), numbers)


def test_rows_know_how_many_they_are(tmp_path: Path) -> None:
    written(tmp_path, decisions(numbered(3)))
    rows: LoggedRows = read_log(tmp_path, horizon_s=1.0)
    assert len(rows) == 3
    assert rows.chains.max() < CHAINS
