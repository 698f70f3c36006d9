"""Reward tables: written part by part, resumed, refused where they do not belong, and read back as they were."""

from pathlib import Path

import numpy as np
import pytest
from tiny_cascade import TinyCascade

from allocator.chains import ChainSpace
from allocator.replay import Replay
from allocator.reward import context_of
from allocator.rewards import ExpectedClicks
from allocator.table import Manifest, Rows, begin, cascade_digest, check_fits, held_out, read_table, write_part
from allocator.tabulate import Work, plan, sampled
from models.errors import FixFile
from models.features import UserQuery
from models.loading import Cascade
from models.spec import FileRef, Placement

MANIFEST = Manifest(cascade="c", world="w", reward="r", seed=1, users=7, part_rows=3, chains=("a", "b"), flops=(1, 2))


class Chance:
    """Clicks by a formula of user and item."""

    def click_probability(self, user_rows: np.ndarray, item_rows: np.ndarray, /) -> np.ndarray:
        return 1.0 / (1.0 + user_rows[:, None] + item_rows)


def rows(part: int, strings: bool = False) -> Rows:
    at = MANIFEST.part(part)
    ids = np.arange(at.start, at.stop)
    rewards = np.stack([ids, ids * 0.5], axis=1).astype(np.float32)
    names = np.array([f"u{i}" for i in ids]) if strings else ids
    return Rows(names, np.stack([ids, ids + 1, ids + 2], axis=1), rewards, ids % 2 == 0)


@pytest.mark.parametrize("strings", [False, True])
def test_a_table_is_read_as_it_was_written(tmp_path: Path, strings: bool) -> None:
    assert begin(tmp_path, MANIFEST) == [0, 1, 2]
    for part in (2, 0, 1):
        write_part(tmp_path, MANIFEST, part, rows(part, strings))
    manifest, read = read_table(tmp_path)
    assert manifest == MANIFEST
    for name in ("user_ids", "contexts", "rewards", "held_out"):
        whole = np.concatenate([getattr(rows(part, strings), name) for part in range(3)])
        np.testing.assert_array_equal(getattr(read, name), whole)
    assert read.contexts.dtype == np.int64
    assert read.rewards.dtype == np.float32


def test_an_interrupted_table_goes_on_with_the_missing_parts(tmp_path: Path) -> None:
    begin(tmp_path, MANIFEST)
    write_part(tmp_path, MANIFEST, 1, rows(1))
    (tmp_path / ".part-00002.parquet.tmp").write_bytes(b"half")
    (tmp_path / "part-00000.parquet").write_bytes(b"torn")
    with pytest.raises(FixFile, match="2 of 3 parts are missing"):
        read_table(tmp_path)
    assert begin(tmp_path, MANIFEST) == [0, 2]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_part_of_another_manifest_does_not_count(tmp_path: Path) -> None:
    begin(tmp_path, MANIFEST)
    write_part(tmp_path, MANIFEST.model_copy(update={"seed": 2}), 0, rows(0))
    assert begin(tmp_path, MANIFEST) == [0, 1, 2]


@pytest.mark.parametrize("change", [{"seed": 2}, {"reward": "other"}, {"chains": ("a", "c")}, {"users": 8}])
def test_a_folder_with_another_table_is_refused_by_field(tmp_path: Path, change: dict[str, object]) -> None:
    begin(tmp_path, MANIFEST)
    with pytest.raises(FixFile) as refused:
        begin(tmp_path, MANIFEST.model_copy(update=change))
    assert refused.value.field == next(iter(change))


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(FixFile, match="not empty"):
        begin(tmp_path, MANIFEST)


def test_files_beside_a_new_table_are_there_before_it_is(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"of a run that was stopped before it had a manifest")
    begin(tmp_path, MANIFEST, {"model.onnx": b"model"})
    assert (tmp_path / "model.onnx").read_bytes() == b"model"
    begin(tmp_path, MANIFEST, {"model.onnx": b"other"})
    assert (tmp_path / "model.onnx").read_bytes() == b"model"


def test_a_manifest_without_a_click_model_keeps_its_digest() -> None:
    with_model = MANIFEST.model_copy(update={"click_model": "0" * 64})
    assert MANIFEST.digest == "1850dede6ae2280bea6a7877dff8c7123fd4b7acd75c4d9cf158817434da69a5"
    assert with_model.digest != MANIFEST.digest


def test_rewards_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    begin(tmp_path, MANIFEST)
    bad = rows(0)
    bad.rewards[1, 1] = np.nan
    with pytest.raises(ValueError, match="part 0"):
        write_part(tmp_path, MANIFEST, 0, bad)
    assert begin(tmp_path, MANIFEST) == [0, 1, 2]


def test_users_are_held_out_by_their_id_alone() -> None:
    ids = list(range(4000))
    split = held_out(ids)
    assert 0.22 < split.mean() < 0.28
    assert held_out(ids[::-1]).tolist() == split[::-1].tolist()
    assert held_out(ids, salt="other").tolist() != split.tolist()


def test_the_digest_ignores_what_does_not_change_recommendations(tiny: TinyCascade) -> None:
    spec = Cascade.open(tiny.folder).spec
    stage = spec.stages[1]
    moved = stage.variants[0].model_copy(update={"placement": Placement.OWN, "max_rows": 3})
    served = spec.model_copy(
        update={
            "reward": FileRef(file="reward.onnx", sha256="0" * 64),
            "stages": (
                spec.stages[0],
                stage.model_copy(update={"variants": (moved, *stage.variants[1:])}),
                *spec.stages[2:],
            ),
        }
    )
    assert cascade_digest(served) == cascade_digest(spec)
    assert cascade_digest(spec.model_copy(update={"k": 1})) != cascade_digest(spec)


def test_a_worker_gives_what_each_chain_earns_from_each_user(any_tiny: TinyCascade) -> None:
    cascade, source = Cascade.open(any_tiny.folder), ExpectedClicks(Chance())
    manifest = plan(cascade, source, "tiny", users=100, seed=3)
    assert manifest.users == 6
    part = Work(any_tiny.folder, source, manifest).start().part(0)
    at = sampled(manifest, 6)
    assert sorted(at.tolist()) == list(range(6))
    assert part.user_ids.tolist() == any_tiny.user_ids[at].tolist()
    space = ChainSpace(cascade.spec, len(cascade.items))
    users = cascade.users.rows([UserQuery(user_id) for user_id in part.user_ids.tolist()])
    items = Replay(cascade, space).run(users)
    np.testing.assert_allclose(part.rewards, (1.0 / (1.0 + at[:, None, None] + items)).sum(axis=2), rtol=1e-6)
    np.testing.assert_array_equal(part.contexts, context_of(users))


def test_a_table_fits_its_cascade_alone(tiny: TinyCascade, tiny_strings: TinyCascade, tmp_path: Path) -> None:
    cascade = Cascade.open(tiny.folder)
    manifest = plan(cascade, ExpectedClicks(Chance()), "tiny", users=4, seed=0)
    check_fits(manifest, cascade.spec, ChainSpace(cascade.spec, len(cascade.items)), tmp_path)
    other = Cascade.open(tiny_strings.folder)
    with pytest.raises(FixFile) as refused:
        check_fits(manifest, other.spec, ChainSpace(other.spec, len(other.items)), tmp_path)
    assert refused.value.field == "cascade"
