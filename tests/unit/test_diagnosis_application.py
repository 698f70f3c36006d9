"""cluster.diagnosis.application and together: what is configured for the whole, and whether it works."""

import random
import socket
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from carbon_server import CarbonServer, Route, carbon_server, uk_national, uk_period
from fake_time import FakeTime
from ledger_windows import window
from tiny_cascade import TinyCascade

from cluster.carbon.base import CarbonProvider
from cluster.carbon.select import open_carbon
from cluster.carbon.settings import CarbonSettings
from cluster.carbon.transport import HttpTransport
from cluster.diagnosis import application
from cluster.diagnosis.application import carbon_findings, cascade_finding, ledger_finding, port_finding
from cluster.diagnosis.findings import Finding, NodeFindings, State
from cluster.diagnosis.together import across, keeper_findings
from cluster.launching import ports
from cluster.ledger.store import Ledger
from models.checking import check_cascade
from models.spec import CascadeSpec, Device, read_spec

NOON = 1709726400.0  # 2024-03-06T12:00Z


def opened(settings: CarbonSettings) -> CarbonProvider:
    time = FakeTime(NOON)

    async def at_once(_: float) -> None:
        return None

    return open_carbon(settings, HttpTransport(), time, at_once, random.Random(1))


def carbon(**settings: object) -> tuple[Finding, ...]:
    return carbon_findings(CarbonSettings.model_validate(settings), opened, NOON)


def test_a_whole_cascade_is_fine_and_a_broken_one_wrong_with_file_and_field(broken: TinyCascade) -> None:
    found, cascade = cascade_finding(lambda: check_cascade(broken.folder))
    assert found.state is State.OK
    assert cascade is not None
    (broken.folder / cascade.spec.tables.items.ids.file).write_bytes(b"no array")
    found, cascade = cascade_finding(lambda: check_cascade(broken.folder))
    assert found.state is State.WRONG
    assert "tables.items.ids" in found.says
    assert cascade is None


def test_nothing_said_of_the_grid_is_a_note_with_what_to_set() -> None:
    (found,) = carbon()
    assert found.state is State.NOTE
    assert "GREENFLOW_CARBON_G_PER_KWH" in found.remedy


def test_a_figure_says_how_it_is_known_and_an_assumed_pue_is_a_note() -> None:
    found, pue = carbon(g_per_kwh=210, zone="here")
    assert (found.state, found.says) == (State.OK, "210 g/kWh for here (average, assumed), by fixed")
    assert (pue.state, pue.facts["pue"]) == (State.NOTE, 1.0)
    assert carbon(g_per_kwh=210, pue=1.15)[1].state is State.OK


def test_a_series_that_ended_is_a_note_one_that_has_not_begun_and_a_bad_one_are_wrong(tmp_path: Path) -> None:
    file = tmp_path / "grid.csv"
    file.write_text(f"time,g_per_kwh\n{NOON - 90_000},1\n{NOON - 86_400},2\n")
    assert carbon(file=file)[0].state is State.NOTE
    assert "out of date for 23.0 h" in carbon(file=file)[0].says
    file.write_text(f"time,g_per_kwh\n{NOON + 1},1\n{NOON + 2},2\n")
    assert (carbon(file=file)[0].state, carbon(file=file)[0].says) == (
        State.WRONG,
        "file grid.csv has no figure for now",
    )
    file.write_text("nonsense")
    assert "line 1" in carbon(file=file)[0].says
    assert carbon(file=file)[0].state is State.WRONG


@pytest.fixture
def server() -> Iterator[CarbonServer]:
    with carbon_server() as running:
        yield running


def test_a_server_is_asked_once_and_wrong_where_it_refuses(server: CarbonServer) -> None:
    server.routes["/intensity"] = Route(uk_national(uk_period("2024-03-06T12:00Z", "2024-03-06T12:30Z", 266, 263)))
    found = carbon(provider="uk", url=server.url)[0]
    assert (found.state, found.facts["g_per_kwh"]) == (State.OK, 263)
    server.routes["/intensity"] = Route({}, 403)
    assert carbon(provider="uk", url=server.url)[0].state is State.WRONG


def test_a_ledger_that_can_be_written_is_fine_and_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "some" / "folder" / "ledger.sqlite"
    assert ledger_finding(file).state is State.OK
    assert "begins with the first window" in ledger_finding(file).says
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_at_work_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file)
    ledger.write(window(1))
    found = ledger_finding(file)
    assert (found.state, found.says) == (State.OK, f"{file} (is there)")
    assert ledger.write(window(2))
    ledger.close()


def test_a_ledger_that_is_damaged_or_in_the_way_of_a_file_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    file.write_bytes(b"not a database, whatever its name says" * 100)
    assert ledger_finding(file).state is State.WRONG
    with sqlite3.connect(tmp_path / "other.sqlite") as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    assert ledger_finding(tmp_path / "other.sqlite").state is State.WRONG
    below_a_file = ledger_finding(file / "ledger.sqlite")
    assert below_a_file.state is State.WRONG
    assert "cannot be written to" in below_a_file.says


def test_a_ledger_on_a_full_disk_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "LEAST_FREE_BYTES", 1 << 60)
    found = ledger_finding(tmp_path / "ledger.sqlite")
    assert found.state is State.WRONG
    assert "free on its disk" in found.says


def test_a_port_is_free_taken_or_ours() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        port = int(listener.getsockname()[1])
        taken = port_finding(port, lambda: ports.require_free(port, "127.0.0.1"), None)
        ours = port_finding(port, lambda: ports.require_free(port, "127.0.0.1"), "http://127.0.0.1:1")
    free = port_finding(port, lambda: ports.require_free(port, "127.0.0.1"), None)
    assert [one.state for one in (taken, ours, free)] == [State.WRONG, State.OK, State.OK]
    assert f"port {port} is in use by process" in taken.says


@pytest.fixture
def spec(tiny: TinyCascade) -> CascadeSpec:
    return read_spec(tiny.folder)


def node(host: str, cascade: str = "a", devices: tuple[str, ...] = ("cpu",), gpus: int = 0) -> NodeFindings:
    return NodeFindings(f"id of {host}", host, (), cascade, devices, gpus)


def test_nodes_with_the_same_cascade_have_nothing_to_say(spec: CascadeSpec) -> None:
    assert across([node("one"), node("two")], spec, Path("c"), "a") == ()


def test_a_node_without_the_cascade_or_with_another_one_is_named(spec: CascadeSpec) -> None:
    found = across([node("one", ""), node("two", "b"), node("three")], spec, Path("c"), "a")
    assert [one.state for one in found] == [State.WRONG, State.WRONG]
    assert [name in one.says for name, one in zip(("one", "two"), found, strict=True)] == [True, True]
    assert across([NodeFindings("", "alone", (), "", ("cpu",))], spec, Path("c"), "a") == ()
    silent = NodeFindings("id", "silent", (Finding("node", State.WRONG, "did not answer"),))
    assert across([silent], spec, Path("c"), "a") == (), "what did not answer has no cascade to compare"


def test_variants_that_want_a_gpu_are_wrong_unless_a_node_can_give_them_one(spec: CascadeSpec) -> None:
    first, *rest = spec.stages
    variant, *others = first.variants
    wanting = first.model_copy(update={"variants": (variant.model_copy(update={"device": Device.CUDA}), *others)})
    cuda = spec.model_copy(update={"stages": (wanting, *rest)})
    able = node("able", devices=("cpu", "cuda"), gpus=1)
    for helpless in (node("a", gpus=1), node("b", devices=("cpu", "cuda"))):
        (found,) = across([helpless], cuda, Path("c"), "a")
        assert found.state is State.WRONG
        assert f"{first.name}/{variant.name}" in found.says
    (found,) = across([node("a"), able], cuda, Path("c"), "a")
    assert (found.state, "able" in found.says) == (State.OK, True)


def with_resource(host: str, *names: str) -> NodeFindings:
    return replace(node(host), resources=("CPU", *names))


@pytest.mark.parametrize(
    ("nodes", "resource", "state", "says"),
    [
        ([with_resource("a"), with_resource("b")], None, State.NOTE, "on 2 hosts"),
        ([with_resource("a", "books"), with_resource("b")], "books", State.OK, "stay on a"),
        ([with_resource("a"), with_resource("b")], "books", State.WRONG, "no node has the resource books"),
        ([with_resource("a", "books"), with_resource("b", "books")], "books", State.NOTE, "2 hosts have"),
    ],
)
def test_what_is_kept_stays_on_one_disk_or_it_is_said_how(
    nodes: list[NodeFindings], resource: str | None, state: State, says: str
) -> None:
    (found,) = keeper_findings(nodes, resource)
    assert (found.subject, found.state) == ("keeper", state)
    assert says in found.says
    assert (found.remedy == "") is (state is State.OK)


def test_where_there_is_but_one_host_nothing_is_said_of_disks() -> None:
    assert list(keeper_findings([with_resource("a"), with_resource("a")], None)) == []
    assert list(keeper_findings([NodeFindings("", "alone", (), "", ("cpu",))], None)) == []
    assert list(keeper_findings([NodeFindings("", "alone", (), "", ("cpu",))], "books")) == []
