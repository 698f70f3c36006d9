"""The salt of users' ids: made once, kept for the user's own eyes, and the same for all who start at once."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from allocator.arms import MOST_SALT, Assignment
from cluster.salt import BYTES, FILE, kept_salt
from models.errors import FixSetup


def test_it_is_made_up_once_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "greenflow"
    salt = kept_salt(folder)
    assert kept_salt(folder) == salt
    assert len(salt) == 2 * BYTES <= MOST_SALT
    Assignment(0.1, salt)
    assert kept_salt(tmp_path / "other") != salt
    assert [file.name for file in folder.iterdir()] == [FILE], "no draft is left"


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    kept_salt(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


def test_many_that_start_at_once_go_by_the_same(tmp_path: Path) -> None:
    for at in range(20):
        with ThreadPoolExecutor(8) as threads:
            salts = set(threads.map(kept_salt, [tmp_path / str(at)] * 8))
        assert len(salts) == 1
        assert [file.name for file in (tmp_path / str(at)).iterdir()] == [FILE]


def test_one_that_was_written_by_hand_with_a_new_line_counts(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("ab" * BYTES + "\n")
    assert kept_salt(tmp_path) == "ab" * BYTES


@pytest.mark.parametrize("content", [b"", b"short", b"a" * 99, b"\xff" * 24], ids=["empty", "short", "long", "-"])
def test_one_that_is_none_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(FixSetup, match=str(tmp_path / FILE)):
        kept_salt(tmp_path)
    assert (tmp_path / FILE).read_bytes() == content


def test_a_folder_that_cannot_be_written_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(FixSetup, match=r"salt.*GREENFLOW_EXPERIMENT_SALT"):
        kept_salt(tmp_path / "state")
