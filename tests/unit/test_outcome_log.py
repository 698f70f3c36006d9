"""The log's files: whole or not there, of bounded size, and a disk that refuses them stops nothing but the log."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import log_full
import log_killed
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from outcome_rows import BEGAN_S, CHAINS, HEAD, decisions, numbered
from pydantic import ValidationError

from allocator.ope.targets import newest
from cluster.outcomes.log import FileLog
from cluster.outcomes.log_base import Log, NoLog
from cluster.outcomes.log_reader import read_log, read_policies
from cluster.outcomes.log_settings import LogSettings
from cluster.outcomes.log_tables import PolicyRow
from cluster.outcomes.records import Reward


def opened(folder: Path, writer: str = "w", **given: object) -> FileLog:
    return FileLog(LogSettings(folder=folder, **given), HEAD, writer, BEGAN_S)  # type: ignore[arg-type]


def policy(version: int, time_s: float = BEGAN_S, chains: int = CHAINS) -> PolicyRow:
    return PolicyRow(version, time_s, np.arange(chains, dtype=np.float32), '{"cap":0.25}')


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_columns_are_of_the_types_that_readers_are_promised(tmp_path: Path) -> None:
    log, batch = opened(tmp_path), decisions(numbered(4), predicted=np.array([np.nan, 1, 2, 3], np.float32))
    log.add_decisions(batch, '{"cap":0.5}')
    log.add_outcomes([Reward("r1", 2.5, BEGAN_S + 3)])
    log.add_policy(policy(7))
    log.flush(BEGAN_S + 10, everything=True)
    assert files_in(tmp_path) == [
        "decisions/decisions-20231114T221330-w-000002.parquet",
        "outcomes/outcomes-20231114T221330-w-000000.parquet",
        "policies/policies-20231114T221330-w-000001.parquet",
    ]
    found = pq.read_table(tmp_path / files_in(tmp_path)[0], partitioning=None)
    text = pa.dictionary(pa.int32(), pa.string())
    types = {
        "request_id": pa.string(), "time_s": pa.float64(), "user": pa.string(), "chain": pa.int32(),
        "propensity": pa.float32(), "predicted_reward": pa.float32(), "flops": pa.float64(), "energy_j": pa.float32(),
        "co2e_g": pa.float32(), "policy_version": pa.int64(), "degraded": pa.bool_(), "prices": text,
    }  # fmt: skip
    assert {name: found.schema.field(name).type for name in types} == types
    assert found.schema.field("context").type.list_size == 3
    assert found.column("arm").to_pylist() == [("policy", "holdback", "named")[arm] for arm in batch.arms]
    assert found.column("user").to_pylist() == [f"{user:016x}" for user in batch.users.tolist()]
    assert found.column("predicted_reward").to_pylist() == [None, 1.0, 2.0, 3.0]
    assert found.column("prices").to_pylist() == ['{"cap":0.5}'] * 4
    grams = found.column("co2e_g").to_numpy()
    assert np.allclose(grams, batch.energy_j * 1e-4, equal_nan=True)
    said = found.schema.metadata
    assert (said[b"format"], said[b"cascade"], said[b"reward_model"]) == (b"1", b"cascade-1", b"model-1")
    assert json.loads(said[b"chains"]) == list(HEAD.chains)
    outcomes = pq.read_table(tmp_path / files_in(tmp_path)[1], partitioning=None)
    assert outcomes.to_pylist() == [{"request_id": "r1", "reward": 2.5, "time_s": BEGAN_S + 3}]


def test_a_file_is_written_when_there_are_rows_enough_or_it_is_time(tmp_path: Path) -> None:
    log = opened(tmp_path, rotate_rows=100, rotate_s=10.0)
    log.add_decisions(decisions(numbered(99)))
    log.flush(BEGAN_S + 9)
    assert log.counts.waiting == 99
    log.flush(BEGAN_S + 10)
    assert (log.counts.written["decisions"], log.counts.waiting) == (99, 0)
    log.add_decisions(decisions(numbered(100)))
    log.flush(BEGAN_S + 11)
    assert log.counts.written["decisions"] == 199
    before = files_in(tmp_path)
    log.flush(BEGAN_S + 100)
    assert files_in(tmp_path) == before, "nothing came, nothing is written"


def test_another_reward_model_has_files_of_its_own(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add_policy(policy(1))
    log.add_policy(policy(2, BEGAN_S + 59))
    log.begin(HEAD.reward_model)
    log.add_policy(policy(3, BEGAN_S + 60))
    log.begin("model-2")
    log.add_policy(policy(4, BEGAN_S + 61))
    log.flush(BEGAN_S + 62, everything=True)
    found = read_policies(tmp_path)
    assert found.versions.tolist() == [1, 3, 4], "one a minute, and the first of each model"
    assert found.reward_models == ("model-1", "model-1", "model-2")
    assert found.penalties.tolist() == [[0.0, 1.0, 2.0, 3.0, 4.0]] * 3
    with pytest.raises(ValueError, match="in a log of 5"):
        log.add_policy(policy(5, chains=4))


def test_contexts_are_left_out_where_they_shall_be(tmp_path: Path) -> None:
    log = opened(tmp_path, contexts=False)
    log.add_decisions(decisions(numbered(4)))
    log.flush(BEGAN_S + 10, everything=True)
    assert read_log(tmp_path, horizon_s=1.0).contexts.shape == (4, 0)


def test_the_oldest_files_give_way_and_those_of_others_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    foreign = tmp_path / "decisions" / "mine.txt"
    foreign.write_bytes(bytes(2 << 20))
    half = tmp_path / "decisions" / ".decisions-20231114T000000-gone-000000.parquet"
    half.touch()
    os.utime(half, (0, 0))
    log = opened(tmp_path, max_bytes=1 << 20)
    for number in range(25):
        log.add_decisions(decisions(numbered(1000, f"{number}-"), BEGAN_S + 60 * number, width=10))
        log.add_outcomes([Reward(f"{number}-0", 1.0, BEGAN_S + 60 * number)])
        log.flush(BEGAN_S + 60 * number + 1, everything=True)
        kept = [path for path in tmp_path.rglob("*.parquet") if path != half]
        assert sum(path.stat().st_size for path in kept) <= 1 << 20
    assert foreign.exists()
    assert not half.exists()
    assert log.counts.deleted > 10
    rows = read_log(tmp_path, horizon_s=1.0)
    assert rows.times_s.max() == BEGAN_S + 60 * 24
    assert (rows.rewards.reshape(-1, 1000)[:, 0] == 1).all(), "decisions leave before their outcomes"


def in_force(folder: Path) -> dict[float, int]:
    """By the time of a decision, the version of the policy that was in force, as a reader of the log finds it."""
    times_s, policies = np.unique(read_log(folder, horizon_s=1.0).times_s), read_policies(folder)
    found = newest(policies.times_s, times_s)
    assert (found >= 0).all()
    return dict(zip(times_s.tolist(), policies.versions[found].tolist(), strict=True))


def fill(log: FileLog, every_s: float) -> None:
    """Forty minutes of decisions, with another policy after every so many seconds."""
    for second in range(0, 2400, 30):
        if second % every_s == 0:
            log.add_policy(policy(second, BEGAN_S + second))
        log.add_decisions(decisions(numbered(1000, f"{second}-"), BEGAN_S + second, width=10))
        if second % 120 == 90:
            log.flush(BEGAN_S + second, everything=True)


@pytest.mark.parametrize("every_s", [300.0, np.inf], ids=["prices move", "prices are zero"])
def test_decisions_have_the_policy_that_was_in_force_though_older_files_were_deleted(
    every_s: float, tmp_path: Path
) -> None:
    fill(opened(tmp_path / "large"), every_s)
    fill(opened(tmp_path / "small", max_bytes=1 << 20), every_s)
    large, small = in_force(tmp_path / "large"), in_force(tmp_path / "small")
    assert 0 < len(small) < len(large)
    assert small.items() <= large.items()


def test_a_policy_that_comes_soon_after_another_is_in_force_for_what_was_decided_since(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add_policy(policy(1))
    log.add_policy(policy(2, BEGAN_S + 30))
    for second in range(60, 3660, 60):
        log.add_decisions(decisions(numbered(3, f"{second}-"), BEGAN_S + second))
        if second % 600 == 0:
            log.flush(BEGAN_S + second, everything=True)
            assert set(in_force(tmp_path).values()) <= {2}, "also before later files have come"
    assert read_policies(tmp_path).versions.tolist() == [1, 2]


def test_a_policy_that_comes_soon_after_another_is_logged_where_it_stays_for_a_minute(tmp_path: Path) -> None:
    log = opened(tmp_path)
    for version, second in enumerate((0, 30, 200, 210, 220, 265)):
        log.add_policy(policy(version, BEGAN_S + second))
    log.add_decisions(decisions(numbered(3, "r"), BEGAN_S + 100))
    log.flush(BEGAN_S + 300, everything=True)
    assert read_policies(tmp_path).versions.tolist() == [0, 1, 2, 5]
    assert in_force(tmp_path) == {BEGAN_S + 100: 1}


def test_a_policy_that_is_written_again_is_read_once(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add_policy(policy(7))
    for at in range(5):
        log.add_decisions(decisions(numbered(3, f"{at}-"), BEGAN_S + at))
        log.flush(BEGAN_S + at, everything=True)
    log.flush(BEGAN_S + 100, everything=True)
    assert log.counts.written["policies"] == 5, "one with each set of files that has decisions"
    assert read_policies(tmp_path).versions.tolist() == [7]


def test_the_first_policy_is_written_later_where_memory_was_full_when_it_came(tmp_path: Path) -> None:
    log = opened(tmp_path, rotate_rows=100)
    log.add_decisions(decisions(numbered(200)))
    log.add_policy(policy(7))
    log.flush(BEGAN_S + 1, everything=True)
    assert len(read_policies(tmp_path)) == 0
    log.add_decisions(decisions(numbered(3, "s")))
    log.flush(BEGAN_S + 2, everything=True)
    assert read_policies(tmp_path).versions.tolist() == [7]


def test_a_policy_from_before_a_crash_does_not_claim_that_outcomes_were_heard_meanwhile(tmp_path: Path) -> None:
    for writer, since in (("a", 0), ("b", 1000)):
        log = FileLog(LogSettings(folder=tmp_path), HEAD, writer, BEGAN_S + since)
        log.add_policy(policy(7))
        log.add_decisions(decisions(numbered(3, writer), BEGAN_S + since))
        log.flush(BEGAN_S + since + 100, everything=True)
    assert len(read_log(tmp_path, horizon_s=500.0)) == 0, "between the writers nobody listened"


@pytest.mark.parametrize("batches", [1, 10])
def test_a_file_that_could_never_fit_comes_in_parts(tmp_path: Path, batches: int) -> None:
    log, names = opened(tmp_path, max_bytes=1 << 20), numbered(10_000)
    for part in range(batches):
        log.add_decisions(decisions(names[part::batches], BEGAN_S, width=100))
    log.add_outcomes([Reward(name, 1.0, BEGAN_S + 1) for name in names])
    log.flush(BEGAN_S + 10, everything=True)
    assert (log.counts.error, log.counts.waiting) == (None, 0)
    assert log.counts.written["decisions"] == log.counts.written["outcomes"] == 10_000
    assert sum((tmp_path / name).stat().st_size for name in files_in(tmp_path)) <= 1 << 20
    rows = read_log(tmp_path, horizon_s=1.0)
    assert len(rows) > 500
    assert (rows.rewards == 1.0).all()


def test_what_finds_no_room_beside_its_outcomes_is_dropped_and_they_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, rng = opened(tmp_path, max_bytes=1 << 20), np.random.default_rng(0)
    names = [rng.bytes(32).hex() for _ in range(40_000)]
    for since in (0, 100):
        log.add_decisions(decisions([f"{since} {name}" for name in names], BEGAN_S + since))
        log.add_outcomes([Reward(f"{since} {name}", 1.0, BEGAN_S + since) for name in names])
        log.flush(BEGAN_S + since + 10, everything=True)
    log.add_decisions(decisions(numbered(2, "s"), BEGAN_S + 150))
    log.flush(BEGAN_S + 200, everything=True)
    assert len(read_log(tmp_path, horizon_s=1.0)) == 0, "what they earned may have been dropped"
    log.add_decisions(decisions(numbered(5), BEGAN_S + 210))
    log.add_outcomes([Reward(name, 1.0, BEGAN_S + 210) for name in numbered(5)])
    log.flush(BEGAN_S + 300, everything=True)
    assert log.counts.error is None
    assert log.counts.dropped["outcomes"] > 0
    assert caplog.text.count("log.max_bytes has no room") == 1
    assert read_log(tmp_path, horizon_s=1.0).rewards.tolist() == [1.0] * 5


def test_outcomes_that_cannot_be_written_leave_a_gap_though_later_ones_can(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.add_decisions(decisions(("r0",)))
    log.add_outcomes([Reward("r0", 1.0, BEGAN_S + 1), Reward("\ud800", 1.0, BEGAN_S + 1)])
    log.begin("model-2")
    log.add_outcomes([Reward("r1", 1.0, BEGAN_S + 2)])
    log.flush(BEGAN_S + 10, everything=True)
    assert log.counts.dropped["outcomes"] == 2
    log.add_decisions(decisions(("r2",), BEGAN_S + 10))
    log.flush(BEGAN_S + 200, everything=True)
    assert len(read_log(tmp_path, horizon_s=5.0)) == 0


def test_a_single_row_that_could_never_fit_is_dropped_and_that_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(tmp_path, max_bytes=1 << 20)
    log.add_decisions(decisions(numbered(3), width=400_000))
    log.flush(BEGAN_S + 10, everything=True)
    assert (log.counts.error, log.counts.waiting, log.counts.dropped["decisions"]) == (None, 0, 3)
    assert caplog.text.count("log.max_bytes has no room") == 1
    log.add_decisions(decisions(numbered(3, "s")))
    log.flush(BEGAN_S + 20, everything=True)
    assert len(read_log(tmp_path, horizon_s=1.0)) == 3


def test_rows_that_no_table_can_hold_are_dropped_and_hold_no_others_back(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = opened(tmp_path)
    log.add_decisions(decisions(("r0", "\ud800")))
    log.flush(BEGAN_S + 10, everything=True)
    assert log.counts.dropped["decisions"] == 2
    assert log.counts.error is None
    assert "2 rows of the log's decisions cannot be written" in caplog.text
    log.add_decisions(decisions(numbered(3)))
    log.flush(BEGAN_S + 20, everything=True)
    assert len(read_log(tmp_path, horizon_s=1.0)) == 3


@pytest.mark.parametrize("log", [NoLog(), None])
def test_no_log_takes_what_a_log_takes(log: Log | None, tmp_path: Path) -> None:
    one: Log = log or opened(tmp_path)
    one.begin(HEAD.reward_model)
    one.add_decisions(decisions(numbered(3)), "{}")
    one.add_outcomes([Reward("r0", 1.0, BEGAN_S)])
    one.add_policy(policy(1))
    one.flush(BEGAN_S + 1, everything=True)
    assert one.counts.waiting == 0
    assert (one.counts.files > 0) == (log is None)


def test_what_comes_while_a_file_is_written_is_in_the_next(tmp_path: Path) -> None:
    log, stop = opened(tmp_path, rotate_rows=100), threading.Event()

    def flush() -> None:
        while not stop.is_set():
            log.flush(BEGAN_S + 1)

    thread = threading.Thread(target=flush)
    thread.start()
    for number in range(100):
        log.add_decisions(decisions(numbered(10, f"{number}-")))
        while log.counts.waiting >= 150:
            time.sleep(0.001)
    stop.set()
    thread.join()
    log.flush(BEGAN_S + 10, everything=True)
    assert len(read_log(tmp_path, horizon_s=1.0)) == log.counts.written["decisions"] == 1000


def run(script: str | None, *arguments: str) -> dict[str, object]:
    assert script is not None
    root = Path(script).parents[2]
    command = [sys.executable, script, *arguments]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=120, cwd=root, env={"PYTHONPATH": str(root)}
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_a_writer_that_is_killed_loses_at_most_what_it_held_and_leaves_no_half_a_file(tmp_path: Path) -> None:
    found = run(log_killed.__file__, str(tmp_path), "12", "1")
    assert found["written"] <= found["rows"] <= found["most"]  # type: ignore[operator]
    assert found["written"]
    assert found["zero"] == 0, "no decision comes without the outcome that was known with it"
    assert found["half"], "a kill must hit a file that is being written, which no reader then sees"


def test_a_full_disk_costs_what_memory_cannot_hold_and_is_told_once(tmp_path: Path) -> None:
    found = run(log_full.__file__, str(tmp_path))
    assert "File too large" in str(found["error"])
    assert found["waiting"] == 200, "twice rotate_rows"
    assert found["after"] is None
    assert found["said"] == [
        f"decisions are not logged: {found['error']}; tried again every 60 s",
        f"decisions are logged again; {found['lost']} rows were dropped so far",
    ]
    assert found["written"] + found["lost"] == found["sent"]  # type: ignore[operator]
    assert (found["rows"], found["left"], found["half"]) == (found["written"], 0, 0)


def test_a_folder_that_is_none_is_tried_again(tmp_path: Path) -> None:
    log, taken = opened(tmp_path, retry_s=60.0), tmp_path / "outcomes"
    taken.touch()
    log.add_decisions(decisions(numbered(3)))
    log.flush(BEGAN_S + 1, everything=True)
    assert "Not a directory" in (log.counts.error or "")
    taken.unlink()
    log.flush(BEGAN_S + 60)
    assert log.counts.error is not None
    log.flush(BEGAN_S + 61)
    assert (log.counts.error, log.counts.written["decisions"]) == (None, 3)
    assert len(read_log(tmp_path, horizon_s=1.0)) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_no_longer_be_written_is_tried_again(tmp_path: Path) -> None:
    log = opened(tmp_path, retry_s=60.0)
    tmp_path.chmod(0o500)
    log.add_decisions(decisions(numbered(3)))
    log.flush(BEGAN_S + 1, everything=True)
    assert "Permission denied" in (log.counts.error or "")
    tmp_path.chmod(0o700)
    log.flush(BEGAN_S + 60)
    assert log.counts.error is not None
    log.flush(BEGAN_S + 61)
    assert (log.counts.error, log.counts.written["decisions"]) == (None, 3)


def test_settings_name_what_is_wrong_and_make_the_folder_absolute() -> None:
    assert LogSettings().folder is None
    assert LogSettings(folder=Path("here")).folder == Path.cwd() / "here"
    for wrong in ({"max_bytes": 10}, {"rotate_rows": 1}, {"rotate_s": 0.0}, {"folders": "x"}):
        with pytest.raises(ValidationError, match=next(iter(wrong))):
            LogSettings(**wrong)  # type: ignore[arg-type]
