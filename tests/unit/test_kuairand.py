"""KuaiRand-Pure: the parser names what is wrong, and nothing of a request's own day or later is known to it."""

from pathlib import Path

import numpy as np
import pytest
from tiny_kuairand import LOG, REAL, Row
from tiny_kuairand import write_table as table

from models.errors import FixFile
from models.splits import chosen
from models.worlds.base import World
from models.worlds.kuairand import APART_SALT, APART_SHARE, kuairand_world, read_kuairand
from models.worlds.kuairand_features import ItemFeatures, UserFeatures
from models.worlds.kuairand_files import Report


def shown(user: int, video: int, day: int, ms: int, click: int, tab: int = 1) -> Row:
    return dict.fromkeys(LOG, 0) | {
        "user_id": user,
        "video_id": video,
        "date": day,
        "time_ms": ms,
        "is_click": click,
        "tab": tab,
    }


ROWS = [
    shown(7, 30, 20220504, 1, 1),
    shown(7, 10, 20220504, 2, 0),
    shown(9, 20, 20220505, 3, 1),
    shown(7, 20, 20220505, 4, 1, tab=0),
    shown(9, 10, 20220506, 5, 1),
    shown(7, 10, 20220507, 6, 1),
    shown(7, 20, 20220508, 7, 0),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole data set in miniature."""
    table(tmp_path / "log_standard_5_01_to_5_05_pure.csv.gz", LOG, ROWS[:4])
    table(tmp_path / "log_standard_5_06_to_5_08_pure.csv", LOG, ROWS[4:])
    users: list[Row] = [{"user_id": u, "user_active_degree": "full_active"} for u in (9, 7, 8)]
    table(tmp_path / "user_features_pure.csv", list(UserFeatures.COLUMNS), users)
    videos: list[Row] = [
        {"video_id": v, "tag": f"{v},3", "video_duration": 1000.0 * v, "server_width": 720, "server_height": 1280}
        for v in (10, 20, 30)
    ]
    table(tmp_path / "video_features_basic_pure.csv", list(ItemFeatures.COLUMNS), videos)
    return tmp_path


def history_of(world: World, user: int) -> list[int]:
    row = int(np.flatnonzero(world.users.ids == user)[0])
    return [int(world.items.ids[code - 1]) for code in world.history[row] if code]


def test_days_are_split_and_ids_ascend(folder: Path) -> None:
    world, _ = kuairand_world(folder)
    assert [set(log.day.tolist()) for log in (world.train, world.valid, world.test)] == [
        {20220504, 20220505},
        {20220506},
        {20220507, 20220508},
    ]
    assert world.users.ids.tolist() == [7, 8, 9]
    assert world.items.ids.tolist() == [10, 20, 30]


def test_served_histories_hold_the_clicks_before_the_test_days(folder: Path) -> None:
    world, _ = kuairand_world(folder)
    assert [history_of(world, user) for user in (7, 8, 9)] == [[30, 20], [], [20, 10]]


def test_a_request_knows_nothing_of_its_own_day(folder: Path) -> None:
    world, _ = kuairand_world(folder)
    changed = [row | ({"is_click": 1 - int(str(row["is_click"]))} if row["date"] == 20220505 else {}) for row in ROWS]
    table(folder / "log_standard_5_01_to_5_05_pure.csv.gz", LOG, changed[:4])
    other, _ = kuairand_world(folder)
    until = world.train.day <= 20220505
    np.testing.assert_array_equal(world.train.user[until], other.train.user[until])
    np.testing.assert_array_equal(world.train.history[until], other.train.history[until])
    items, more = world.train.item_features, other.train.item_features
    request = world.train.request
    np.testing.assert_array_equal(items(request, world.train.item_row), more(request, other.train.item_row))
    assert not np.array_equal(world.valid.history, other.valid.history)


def test_both_test_days_know_the_same(folder: Path) -> None:
    world, _ = kuairand_world(folder)
    assert world.test.user_row.tolist() == [0, 0]
    np.testing.assert_array_equal(world.test.history[0], world.test.history[1])
    np.testing.assert_array_equal(world.test.history[0], world.history[0])
    np.testing.assert_array_equal(world.test.catalogue[world.test.state[0]], world.items.features)


def apart(users: range) -> list[int]:
    """Those of the ids that stand apart."""
    return [user for user, is_apart in zip(users, chosen(users, APART_SHARE, APART_SALT), strict=True) if is_apart]


def with_users(folder: Path, users: list[int], rows: list[Row]) -> None:
    """The data set with other users and exposures."""
    known: list[Row] = [{"user_id": u, "user_active_degree": "full_active"} for u in users]
    table(folder / "user_features_pure.csv", list(UserFeatures.COLUMNS), known)
    table(folder / "log_standard_5_01_to_5_05_pure.csv.gz", LOG, [*ROWS[:4], *rows])


def test_nobody_is_trained_on_users_apart(folder: Path) -> None:
    one = apart(range(100, 200))[0]
    rows = [shown(one, 10, 20220504, 11, 1), shown(one, 20, 20220506, 12, 1), shown(one, 30, 20220507, 13, 0)]
    with_users(folder, [7, 8, 9, one], rows)
    data = read_kuairand(folder)
    row = data.world.users.ids.tolist().index(one)
    assert row not in data.world.train.user_row
    assert row not in data.world.valid.user_row
    assert row in data.world.test.user_row
    unseen = data.unseen.only(data.unseen.user_row == row)
    assert unseen.day.tolist() == [20220504, 20220506, 20220507]
    assert data.unseen.day.tolist() == [20220504, 20220506, *data.world.test.day.tolist()]
    assert history_of(data.world, one) == [10, 20]


def test_clicks_of_users_apart_count_in_nobodys_rates_but_their_own(folder: Path) -> None:
    one = apart(range(100, 200))[0]
    worlds = []
    for click in (0, 1):
        with_users(folder, [7, 8, 9, one], [shown(one, 10, 20220504, 20 + n, click) for n in range(9)])
        worlds.append(kuairand_world(folder)[0])
    without, with_clicks = worlds
    np.testing.assert_array_equal(without.train.catalogue, with_clicks.train.catalogue)
    others = without.users.ids != one
    np.testing.assert_array_equal(without.users.features[others], with_clicks.users.features[others])
    assert not np.array_equal(without.users.features[~others], with_clicks.users.features[~others])


def test_the_log_kept_back_holds_the_test_days(folder: Path) -> None:
    long = [*ROWS[4:6], ROWS[6] | {"long_view": 1}]
    table(folder / "log_standard_5_06_to_5_08_pure.csv", LOG, long)
    logged = read_kuairand(folder).logged
    assert logged.user.tolist() == [0, 0]
    assert logged.item.tolist() == [0, 1]
    assert logged.click.tolist() == [True, False]
    assert logged.long_view.tolist() == [False, True]


def test_the_tab_of_a_request_stands_in_its_features(folder: Path) -> None:
    world, _ = kuairand_world(folder)
    tab = [column.name for column in world.users.columns].index("tab")
    assert world.users.columns[tab].values == tuple(range(15))
    rows = np.flatnonzero((world.train.day == 20220505) & (world.train.user_row == 0))
    assert world.train.user[rows, tab].tolist() == [1]


def test_codes_fit_their_columns(folder: Path) -> None:
    world, _ = kuairand_world(folder)
    for table_, codes in ((world.users, world.users.features), (world.items, world.items.features)):
        assert (codes >= 0).all()
        assert (codes < [column.cardinality for column in table_.columns]).all()
    assert (world.cold < [column.cardinality for column in world.users.columns]).all()


def test_duplicates_are_dropped_and_counted(folder: Path) -> None:
    twice = ROWS[4] | {"hourmin": 100}
    table(folder / "log_standard_5_06_to_5_08_pure.csv", LOG, [ROWS[0], *ROWS[4:], twice])
    world, report = kuairand_world(folder)
    assert (report.duplicates, report.repeats) == (1, 1)
    assert len(world.valid.click) == 1
    assert "dropped 1 exact duplicates among the exposures" in report.lines()


def test_the_report_says_what_was_found_and_what_is_missing(folder: Path) -> None:
    table(folder / "video_features_statistic_pure.csv", ["video_id"], [])
    _, report = kuairand_world(folder)
    text = "\n".join(report.lines())
    assert "log_standard_5_01_to_5_05_pure.csv.gz: 4 exposures" in text
    assert "video_features_statistic_pure.csv: found, not used" in text
    assert "standard-policy log of 2022-04-08 to 2022-05-03" in text
    assert "history_before_*" in text


def test_what_was_watched_before_the_log_starts_the_history(folder: Path) -> None:
    rows: list[Row] = [{"user_id": 8, "watch_seq": "10 20 30", "like_seq": "30", "long_watch_seq": "10"}]
    table(folder / "history_before_20220504.csv", ["user_id", "watch_seq", "like_seq", "long_watch_seq"], rows)
    world, _ = kuairand_world(folder)
    assert history_of(world, 8) == [10, 30]


def test_exposures_of_strangers_are_dropped_and_counted(folder: Path) -> None:
    table(folder / "log_standard_5_06_to_5_08_pure.csv", LOG, [*ROWS[4:], shown(7, 999, 20220507, 9, 1)])
    _, report = kuairand_world(folder)
    assert report.strangers == 1


def test_the_data_folder_inside_is_found(folder: Path) -> None:
    inside = folder / "data"
    inside.mkdir()
    for path in list(folder.glob("*.csv*")):
        path.rename(inside / path.name)
    assert kuairand_world(folder)[1] != Report(folder)


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [("is_click", "yes", r"line 2, column is_click: expected an integer, got 'yes'"), ("tab", "", "column tab")],
)
def test_a_bad_value_is_named_by_file_line_and_column(folder: Path, column: str, value: str, problem: str) -> None:
    table(folder / "log_standard_5_06_to_5_08_pure.csv", LOG, [ROWS[4] | {column: value}, *ROWS[5:]])
    with pytest.raises(FixFile, match=problem) as caught:
        kuairand_world(folder)
    assert "log_standard_5_06_to_5_08_pure.csv" in str(caught.value)


def test_a_missing_column_is_named(folder: Path) -> None:
    table(folder / "video_features_basic_pure.csv", ["video_id", "tag"], [])
    with pytest.raises(FixFile, match=r"video_features_basic_pure\.csv: column video_duration: is missing"):
        kuairand_world(folder)


@pytest.mark.parametrize("name", ["user_features_pure.csv", "video_features_basic_pure.csv"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(FixFile, match=name):
        kuairand_world(folder)


def test_a_folder_without_logs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match="log_standard"):
        kuairand_world(tmp_path)


def test_a_row_of_another_length_is_named_by_its_line(folder: Path) -> None:
    path = folder / "log_standard_5_06_to_5_08_pure.csv"
    path.write_text(path.read_text() + "1,2,3\n")
    with pytest.raises(FixFile, match="line 5: 3 fields"):
        kuairand_world(folder)


def test_a_cut_off_gz_is_refused(folder: Path) -> None:
    path = folder / "log_standard_5_01_to_5_05_pure.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(FixFile, match="cannot be read"):
        kuairand_world(folder)


def test_logs_that_miss_the_test_days_are_refused(folder: Path) -> None:
    (folder / "log_standard_5_06_to_5_08_pure.csv").unlink()
    with pytest.raises(FixFile, match="no exposures on"):
        kuairand_world(folder)


@pytest.mark.skipif(not REAL.is_dir(), reason="KuaiRand-Pure is not here: set GREENFLOW_KUAIRAND to its folder")
def test_the_real_data_set_is_read_whole() -> None:
    data = read_kuairand(REAL)
    world, trained = data.world, len(data.world.train.click) + len(data.world.valid.click)
    assert trained + len(data.unseen.click) > 200_000
    assert 60_000 < len(data.unseen.click) < 80_000
    assert len(data.logged.user) == len(world.test.click)
    assert data.report.duplicates > 5000
    assert len(world.users.ids) == 27_285
    assert len(world.items.ids) == 7_583
    assert (world.users.features < [c.cardinality for c in world.users.columns]).all()
    assert (world.history.max() <= 7_583).all()
