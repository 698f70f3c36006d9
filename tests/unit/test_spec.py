"""cascade.yaml: read, written, and every kind of wrong file refused by file and field."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_cascade import Document, TinyCascade, stage, variant

from models.errors import FixFile
from models.spec import Column, Device, Placement, read_spec, write_spec

Change = Callable[[Document], object]


def columns(document: Document, table: str = "users") -> list[Document]:
    found: list[Document] = document["tables"][table]["columns"]
    return found


WRONG: list[tuple[str, Change, str, str]] = [
    ("unknown field", lambda d: d.update(colour="green"), "colour", "Extra inputs"),
    ("unknown field of a variant", lambda d: variant(d, "fine").update(gpu=1), "stages.2.variants.0.gpu", "Extra"),
    ("missing field", lambda d: d.pop("static_chain"), "static_chain", "required"),
    ("another format", lambda d: d.update(format=2), "format", "1"),
    ("k of zero", lambda d: d.update(k=0), "k", "greater"),
    ("k that is text", lambda d: d.update(k="many"), "k", "integer"),
    ("no stages", lambda d: d.update(stages=[]), "stages", "at least 1"),
    ("no variants", lambda d: stage(d, "rank").update(variants=[]), "stages.2.variants", "at least 1"),
    ("two stages of one name", lambda d: stage(d, "rank").update(name="prerank"), "", "distinct names"),
    ("two variants of one name", lambda d: variant(d, "heavy").update(name="light"), "stages.1", "distinct names"),
    ("name with a separator", lambda d: variant(d, "fine").update(name="a>b"), "stages.2.variants.0.name", "pattern"),
    ("falling item numbers", lambda d: stage(d, "rank").update(items=[4, 2]), "stages.2", "ascend"),
    ("repeated item numbers", lambda d: stage(d, "rank").update(items=[4, 4]), "stages.2", "ascend"),
    ("fewer items than k", lambda d: stage(d, "rank").update(items=[1, 4]), "", "at least k=2"),
    ("scorer without items", lambda d: stage(d, "rank").pop("items"), "", "names no item numbers"),
    ("recall with items", lambda d: stage(d, "recall").update(items=[4]), "", "whole index"),
    ("skippable recall", lambda d: stage(d, "recall").update(skippable=True), "", "whole index"),
    ("recall without index", lambda d: variant(d, "dot").pop("index"), "", "needs an index"),
    ("scorer with an index", lambda d: variant(d, "fine").update(index=variant(d, "dot")["index"]), "", "no index"),
    ("unknown device", lambda d: variant(d, "fine").update(device="tpu"), "stages.2.variants.0.device", "cuda"),
    (
        "inline on a GPU",
        lambda d: variant(d, "fine").update(device="cuda", placement="inline"),
        "stages.2.variants.0",
        "cannot be placed inline",
    ),
    ("no threads", lambda d: variant(d, "fine").update(threads=0), "stages.2.variants.0.threads", "greater"),
    (
        "negative FLOPs",
        lambda d: variant(d, "fine")["flops"].update(row=-1),
        "stages.2.variants.0.flops.row",
        "greater",
    ),
    (
        "short hash",
        lambda d: variant(d, "fine")["model"].update(sha256="abc"),
        "stages.2.variants.0.model.sha256",
        "pattern",
    ),
    (
        "file above the folder",
        lambda d: d["tables"]["users"]["ids"].update(file="../ids.npy"),
        "tables.users.ids",
        "inside the cascade's folder",
    ),
    (
        "absolute file",
        lambda d: d["tables"]["users"]["ids"].update(file="/etc/ids.npy"),
        "tables.users.ids",
        "inside the cascade's folder",
    ),
    ("column without encoding", lambda d: columns(d)[0].pop("codes"), "tables.users.columns.0", "no encodings"),
    ("two encodings", lambda d: columns(d)[0].update(values=[1]), "tables.users.columns.0", "exactly one"),
    ("values that repeat", lambda d: columns(d)[1].update(values=["a", "a"]), "tables.users.columns.1", "distinct"),
    ("falling edges", lambda d: columns(d)[2].update(edges=[2, 1]), "tables.users.columns.2", "ascend"),
    (
        "an edge that is no number",
        lambda d: columns(d)[2].update(edges=[1, float("nan")]),
        "tables.users.columns.2",
        "",
    ),
    ("two columns of one name", lambda d: columns(d)[1].update(name="level"), "tables.users", "distinct"),
    ("short cold row", lambda d: d["tables"]["users"].update(cold=[0]), "tables.users", "cold names 1"),
]


@pytest.mark.parametrize(("change", "field", "problem"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_field_is_refused_by_name(broken: TinyCascade, change: Change, field: str, problem: str) -> None:
    broken.edit(change)
    with pytest.raises(FixFile) as refused:
        read_spec(broken.folder)
    assert refused.value.file == str(broken.folder / "cascade.yaml")
    assert refused.value.field.startswith(field)
    assert problem in refused.value.problem
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"stages: [", "not valid YAML"),
        (b"\xff\xfe\x00", "not valid YAML"),
        (b"", "valid dictionary"),
        (b"- a list", "valid dictionary"),
        (b"!!python/object/apply:os.getcwd []", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_cascade_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "cascade.yaml").write_bytes(content)
    with pytest.raises(FixFile, match=problem) as refused:
        read_spec(tmp_path)
    assert refused.value.file == str(tmp_path / "cascade.yaml")


def test_a_folder_without_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match=r"no such file; a cascade is a folder with a cascade\.yaml"):
        read_spec(tmp_path)


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FixFile, match="file"):
        read_spec(tmp_path / "file")


def test_a_folder_in_the_file_s_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cascade.yaml").mkdir()
    with pytest.raises(FixFile, match=r"cascade\.yaml"):
        read_spec(tmp_path)


def test_what_is_written_is_read_back(tiny: TinyCascade, tmp_path: Path) -> None:
    spec = read_spec(tiny.folder)
    assert write_spec(spec, tmp_path) == tmp_path / "cascade.yaml"
    assert read_spec(tmp_path) == spec


def test_a_sparse_file_gets_safe_defaults(tiny: TinyCascade) -> None:
    fine = read_spec(tiny.folder).stages[2].variant("fine")
    assert (fine.device, fine.placement, fine.threads) == (Device.CPU, Placement.OWN, 1)


def test_a_stage_knows_its_variants_by_name(tiny: TinyCascade) -> None:
    prerank = read_spec(tiny.folder).stages[1]
    assert prerank.variant("heavy").name == "heavy"
    with pytest.raises(KeyError):
        prerank.variant("fine")


def test_a_table_with_a_number_is_float(tiny: TinyCascade, tiny_numbers: TinyCascade) -> None:
    assert not read_spec(tiny.folder).tables.users.is_float
    assert read_spec(tiny_numbers.folder).tables.items.is_float


@pytest.mark.parametrize(
    ("column", "cardinality"),
    [
        (Column(name="c", codes=5), 5),
        (Column(name="c", values=("a", "b")), 3),
        (Column(name="c", edges=(1.0, 2.0)), 4),
        (Column(name="c", edges=()), 2),
        (Column(name="c", number=True), None),
    ],
)
def test_cardinality_counts_the_codes_of_a_column(column: Column, cardinality: int | None) -> None:
    assert column.cardinality == cardinality


@pytest.mark.parametrize(
    ("change", "another"),
    [
        (lambda d: d["tables"]["items"]["ids"].update(sha256="0" * 64), True),
        (lambda d: columns(d)[0].update(name="renamed"), True),
        (lambda d: d["tables"]["users"]["history"].update(sha256="0" * 64), False),
        (lambda d: d["tables"]["users"]["ids"].update(sha256="0" * 64), False),
        (lambda d: d["tables"]["items"]["features"].update(sha256="0" * 64), False),
        (lambda d: d.update(about="another text"), False),
    ],
    ids=["items", "encoding", "histories", "users", "features of items", "text"],
)
def test_what_numbers_of_contexts_mean_is_told_from_what_users_did(
    tiny: TinyCascade, tmp_path: Path, change: Change, another: bool
) -> None:
    changed = tiny.copy_to(tmp_path / "changed")
    changed.edit(change)
    assert (read_spec(changed.folder).codes != read_spec(tiny.folder).codes) == another
