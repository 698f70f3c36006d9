"""Feature tables: ids, encodings, overrides, cold start, histories."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_cascade import HISTORY, TinyCascade

from models.errors import FixFile, FixRequest
from models.features import Id, IdIndex, UserQuery, UserTable, encode, open_array
from models.loading import Cascade
from models.spec import Column, FileRef

NOBODY: list[Id] = [0, -1, 10**30, -(10**30), 2**63, "", "nobody", "x" * 5000, "2", "\x00"]


def users_of(tiny: TinyCascade) -> UserTable:
    return Cascade.open(tiny.folder).users


@given(st.sets(st.integers(-(2**15), 2**15 - 1), min_size=1), st.lists(st.integers(-(2**17), 2**17)))
def test_integer_ids_are_found_as_in_a_dictionary(ids: set[int], others: list[int]) -> None:
    ordered = sorted(ids)
    index = IdIndex(np.array(ordered, dtype=np.int16))
    rows = {value: row for row, value in enumerate(ordered)}
    wanted = [*others, *ordered]
    assert index.find(wanted).tolist() == [rows.get(value, -1) for value in wanted]
    assert index.ids(np.arange(len(ordered))) == ordered


# numpy's fixed-width strings end at trailing NULs, so such ids cannot be told from those without them.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)


@given(st.sets(TEXT, min_size=1), st.lists(TEXT))
def test_string_ids_are_found_as_in_a_dictionary(ids: set[str], others: list[str]) -> None:
    ordered = np.sort(np.array(list(ids)))
    index = IdIndex(ordered)
    rows = {value: row for row, value in enumerate(ordered.tolist())}
    wanted = [*others, *rows]
    assert index.find(wanted).tolist() == [rows.get(value, -1) for value in wanted]


@pytest.mark.parametrize("ids", [np.array([1, 2, 3], np.int32), np.array(["1", "22", "333"])])
@pytest.mark.parametrize("wanted", [w for w in NOBODY if w != "2"])
def test_an_id_of_any_size_and_kind_is_looked_up_safely(ids: np.ndarray, wanted: Id) -> None:
    assert IdIndex(ids).find([wanted, ids[1].item()]).tolist() == [-1, 1]


def test_ids_of_the_other_kind_are_not_found() -> None:
    assert IdIndex(np.array([1, 2])).find(["1", 2]).tolist() == [-1, 1]
    assert IdIndex(np.array(["1", "2"])).find([1, "2"]).tolist() == [-1, 1]


def test_an_id_that_only_begins_like_a_stored_one_is_not_found() -> None:
    assert IdIndex(np.array(["a", "bob"])).find(["bobby", "bo", "bob"]).tolist() == [-1, -1, 1]
    assert IdIndex(np.array([1, 7], dtype=np.int8)).find([7 + 256, 7]).tolist() == [-1, 1]


def test_looking_up_nothing_finds_nothing() -> None:
    assert IdIndex(np.array([1, 2])).find([]).tolist() == []


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        (Column(name="c", codes=4), 0, 0),
        (Column(name="c", codes=4), 3, 3),
        (Column(name="c", codes=4), 3.0, 3),
        (Column(name="c", values=("de", "fr", 7)), "de", 1),
        (Column(name="c", values=("de", "fr", 7)), 7, 3),
        (Column(name="c", values=("de", "fr", 7)), "7", 0),
        (Column(name="c", values=("de", "fr", 7)), "atlantis", 0),
        (Column(name="c", edges=(10, 100)), 9.99, 1),
        (Column(name="c", edges=(10, 100)), 10, 2),
        (Column(name="c", edges=(10, 100)), 1e30, 3),
        (Column(name="c", number=True), -2.5, -2.5),
    ],
)
def test_a_value_gets_the_code_that_the_file_format_states(column: Column, value: object, code: float) -> None:
    assert encode(column, value, "f") == code


NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *((Column(name="c", codes=4), value) for value in (4, -1, 0.5, True, "1", None, [], NAN, INFINITY, 10**400)),
        *((Column(name="c", values=("de", 1)), value) for value in (True, 1.0, None, ["de"], {"de": 1})),
        *((Column(name="c", edges=(1, 2)), value) for value in (True, "1", None, NAN, -INFINITY, 10**400)),
        *((Column(name="c", number=True), value) for value in (True, "1", NAN, INFINITY, 1e39, 10**400)),
    ],
)
def test_an_impossible_value_is_refused_by_field(column: Column, value: object) -> None:
    with pytest.raises(FixRequest) as refused:
        encode(column, value, "context.c")
    assert refused.value.field == "context.c"


@given(st.lists(st.integers(-50, 50), unique=True).map(sorted), st.floats(-60, 60))
def test_edges_count_how_many_of_them_a_value_has_passed(edges: list[int], value: float) -> None:
    column = Column(name="c", edges=tuple(edges))
    code = encode(column, value, "f")
    assert code == 1 + sum(edge <= value for edge in edges)
    assert column.cardinality is not None
    assert 0 < code < column.cardinality


def test_a_known_user_gets_the_stored_features_and_history(any_tiny: TinyCascade) -> None:
    ids = any_tiny.user_ids.tolist()
    rows = users_of(any_tiny).rows([UserQuery(user_id) for user_id in reversed(ids)])
    assert rows.user.tolist() == any_tiny.user_features[::-1].tolist()
    assert rows.history.tolist() == any_tiny.history[::-1].tolist()
    assert rows.user.dtype == (np.float32 if any_tiny.user_features.dtype == np.float32 else np.int64)
    assert rows.history.dtype == np.int64


@pytest.mark.parametrize("nobody", NOBODY)
def test_an_unknown_user_gets_cold_features_and_no_history(any_tiny: TinyCascade, nobody: Id) -> None:
    known = any_tiny.user_ids[0].item()
    rows = users_of(any_tiny).rows([UserQuery(nobody), UserQuery(known)])
    assert rows.user[0].tolist() == list(any_tiny.cold)
    assert rows.history[0].tolist() == [0] * HISTORY
    assert rows.user[1].tolist() == any_tiny.user_features[0].tolist()


def test_context_overrides_only_the_features_it_names(tiny: TinyCascade) -> None:
    query = UserQuery(2, context={"country": "fr", "spend": 50})
    stored, rows = tiny.user_features[0], users_of(tiny).rows([query, UserQuery(2)])
    assert rows.user.tolist() == [[stored[0], 2, 2], stored.tolist()]


def test_context_serves_users_outside_the_table(tiny_numbers: TinyCascade) -> None:
    context = {"level": 3, "country": 7, "spend": 1000, "balance": -1.25}
    assert users_of(tiny_numbers).rows([UserQuery("new", context=context)]).user.tolist() == [[3, 3, 3, -1.25]]


@pytest.mark.parametrize(
    ("context", "field"),
    [({"colour": 1}, "context.colour"), ({"level": 4}, "context.level"), ({"spend": "much"}, "context.spend")],
)
def test_a_wrong_context_is_refused_by_field(tiny: TinyCascade, context: dict[str, object], field: str) -> None:
    users = users_of(tiny)
    for refuse in (lambda: users.check_query(UserQuery(2, context)), lambda: users.rows([UserQuery(2, context)])):
        with pytest.raises(FixRequest) as refused:
            refuse()
        assert refused.value.field == field


def test_a_right_query_passes_the_check(tiny: TinyCascade) -> None:
    users_of(tiny).check_query(UserQuery(2, {"level": 3, "country": "atlantis"}, [10, 5]))


@pytest.mark.parametrize(
    ("given_ids", "stored"),
    [
        ([], [0, 0, 0]),
        ([10], [0, 0, 1]),
        ([30, 10], [0, 3, 1]),
        ([10, 20, 30], [1, 2, 3]),
        ([10, 20, 30, 40, 120], [3, 4, 12]),
        ([10, 99, "ten", 10**30, 20], [0, 1, 2]),
        ([99], [0, 0, 0]),
        ([10, 10, 10, 10], [1, 1, 1]),
    ],
)
def test_a_history_is_kept_newest_last_and_cut_to_its_newest(
    tiny: TinyCascade, given_ids: list[Id], stored: list[int]
) -> None:
    assert users_of(tiny).rows([UserQuery(2, history=given_ids)]).history.tolist() == [stored]


def test_a_cascade_that_keeps_no_history_takes_one_all_the_same(broken: TinyCascade) -> None:
    broken.save("history.npy", np.zeros((6, 0), np.int32))
    assert users_of(broken).rows([UserQuery(2, history=[10, 20])]).history.shape == (1, 0)


def test_item_features_come_by_row_in_the_models_type(any_tiny: TinyCascade) -> None:
    items = Cascade.open(any_tiny.folder).items
    rows = np.array([11, 0, 0, 5])
    found = items.features(rows)
    assert found.tolist() == any_tiny.item_features[rows].tolist()
    assert found.dtype == (np.float32 if any_tiny.item_features.dtype == np.float32 else np.int64)
    assert items.ids.ids(rows) == any_tiny.item_ids[rows].tolist()


def test_tables_are_mapped_and_not_read_into_memory(tiny: TinyCascade) -> None:
    ref = FileRef(file="history.npy", sha256="0" * 64)
    assert isinstance(open_array(tiny.folder, ref, "history", 2), np.memmap)


@pytest.mark.parametrize(
    ("name", "dims", "problem"),
    [("absent.npy", 1, "no such file"), ("user_ids.npy", 2, "2 dimensions"), ("cascade.yaml", 1, "not a readable")],
)
def test_a_file_that_is_no_such_table_is_refused(tiny: TinyCascade, name: str, dims: int, problem: str) -> None:
    with pytest.raises(FixFile, match=problem) as refused:
        open_array(tiny.folder, FileRef(file=name, sha256="0" * 64), "tables.users.ids", dims)
    assert (refused.value.file, refused.value.field) == (str(tiny.folder / name), "tables.users.ids")


def test_an_archive_of_tables_is_no_table(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", a=np.zeros(3))
    with pytest.raises(FixFile, match="not a readable"):
        open_array(tmp_path, FileRef(file="many.npz", sha256="0" * 64), "tables.users.ids", 1)
