"""The live page as one document: what it is made of, and what a browser lets it do."""

import json
import re
import time

import pytest
from live_trace import trace
from live_world import World

from cluster.live.document import Document
from cluster.live.schemas import HistoryEvent, WindowEvent
from cluster.page.assemble import EXPORT, HERE, IMPORT, page
from cluster.tracing.schemas import TraceResponse

MODULES = sorted((HERE / "scripts").glob("*.js"))


def test_it_is_one_document_that_names_no_other_place() -> None:
    text = page().decode()
    assert "<!--" not in text
    elsewhere = re.findall(r'(?:src|href|action)="(?:https?:)?//[^"]*"|@import|url\(', text)
    assert elsewhere == []
    absolute = re.findall(r'(?:src|href|action)="/[^"]*"', text)
    assert absolute == [], "the application may have a prefix"


def test_it_runs_under_a_policy_that_allows_nothing_inline_but_its_own() -> None:
    policy = Document.of(page()).headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    head = (HERE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r'\sstyle="|\son\w+="', head)


def test_it_is_small() -> None:
    assert len(Document.of(page()).gzipped) < 80_000


@pytest.mark.parametrize("module", MODULES, ids=lambda file: file.stem)
def test_a_module_imports_what_others_export_and_nothing_else(module: object) -> None:
    source = module.read_text(encoding="utf-8")  # type: ignore[attr-defined]
    assert len(IMPORT.findall(source)) == len(re.findall(r"^import\b", source, re.MULTILINE))
    assert len(EXPORT.findall(source)) == len(re.findall(r"^export\b", source, re.MULTILINE))
    for wanted in IMPORT.finditer(source):
        other = (HERE / "scripts" / f"{wanted['module']}.js").read_text(encoding="utf-8")
        exported = {export["name"] for export in EXPORT.finditer(other)}
        assert {name.strip() for name in wanted["names"].split(",")} <= exported


def test_every_module_is_in_the_page() -> None:
    text = page().decode()
    assert [file.stem for file in MODULES if f"const _{file.stem} = (" not in text] == []


@pytest.mark.parametrize("state", ["steady", "fresh", "lost", "blank", "off"])
def test_what_browsers_are_shown_in_tests_is_what_servers_tell(state: str) -> None:
    now_s = time.time()
    world = World(state, born_s=now_s - 60, limits={"cap": {"kind": "power", "limit": 100.0, "unit": "W"}})
    WindowEvent.model_validate_json(json.dumps(world.window(now_s)), strict=True, extra="forbid")
    points = list(world.points(now_s))
    history = {"step_s": 10, "resumed": False, "points": points}
    HistoryEvent.model_validate_json(json.dumps(history), strict=True, extra="forbid")
    told = trace(1, price=1.0, decides=state != "off")
    TraceResponse.model_validate_json(json.dumps(told), strict=True, extra="forbid")
