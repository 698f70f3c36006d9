"""GET /: the page is compressed, known by its content, and allowed to run nothing but what it holds."""

import asyncio
import base64
import gzip
import hashlib
import re

import httpx
import pytest
from fastapi import FastAPI
from ingress_client import Client

from cluster.live.document import accepts_gzip
from cluster.live.routes import add_live
from cluster.page.assemble import page

STYLE, SCRIPT = "body { color: red }", 'new EventSource("v1/live")'
HTML = f"<!doctype html><style>{STYLE}</style><p>Grün</p><script>{SCRIPT}</script>".encode()


def app_of(html: bytes = HTML) -> FastAPI:
    app = FastAPI()
    add_live(app, None, lambda: html)
    return app


def got(
    path: str = "/", method: str = "GET", root_path: str = "", html: bytes = HTML, **headers: str
) -> httpx.Response:
    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(app_of(html), root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            sent = {"accept-encoding": "identity"} | {name.replace("_", "-"): one for name, one in headers.items()}
            return await client.request(method, path, headers=sent)

    return asyncio.run(main())


def hash_of(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def test_the_page_is_html_and_asked_for_anew_every_time() -> None:
    answer = got()
    assert (answer.status_code, answer.content) == (200, HTML)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("said", "compressed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("", False),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("gzip;q=much", False),
        ("br", False),
    ],
)
def test_it_is_compressed_for_who_accepts_that(said: str, compressed: bool) -> None:
    assert accepts_gzip(said) is compressed
    answer = got(accept_encoding=said)
    assert answer.headers.get("content-encoding") == ("gzip" if compressed else None)
    assert answer.headers["vary"] == "Accept-Encoding"
    assert answer.content == HTML
    assert int(answer.headers["content-length"]) == (len(gzip.compress(HTML, 9, mtime=0)) if compressed else len(HTML))


def test_who_has_it_already_is_not_sent_it_again() -> None:
    tag = got().headers["etag"]
    for said in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = got(if_none_match=said)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert got(if_none_match=tag, html=HTML + b"<p>new</p>").status_code == 200


def test_only_its_own_styles_and_scripts_may_run() -> None:
    rules = dict(rule.split(" ", 1) for rule in got().headers["content-security-policy"].split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["style-src"] == hash_of(STYLE)
    assert rules["script-src"] == hash_of(SCRIPT)
    assert rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' data:"


def test_head_is_answered_as_get_without_the_page() -> None:
    answer = got(method="HEAD")
    assert (answer.status_code, answer.headers["etag"]) == (200, got().headers["etag"])


def test_under_a_prefix_it_is_found_with_a_slash_so_that_its_own_links_hold() -> None:
    assert got("/shop/", root_path="/shop").content == HTML
    moved = got("/shop", root_path="/shop")
    assert moved.status_code == 307
    assert moved.headers["location"].endswith("/shop/")


def test_the_shipped_page_needs_nothing_but_itself_and_the_api() -> None:
    html = page().decode()
    assert not re.search(r"""\b(?:src|href)\s*=\s*["']?(?:https?:)?//""", html)
    assert not re.search(r"""<[a-z][^>]*\s(?:style|on[a-z]+)\s*=""", html), "such attributes are not allowed to work"
    assert "v1/live" in html


def test_the_page_is_no_part_of_the_described_api() -> None:
    assert "/" not in Client(app_of()).get("/openapi.json").json()["paths"]
