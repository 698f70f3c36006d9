"""The HTTP side of a load run: sends a body, and says in what way it was answered."""

import json
from collections.abc import Callable

import aiohttp

from cluster.traffic.report import OK, Answer
from models.errors import FixRequest, FixSetup

PATH, FEEDBACK = "/v1/recommend", "/v1/feedback"
# Below the idle limits of uvicorn and HAProxy, so that the client closes an idle connection and not the server:
# one that is closed just as a request is on its way would count as a failure.
KEEP_ALIVE_S = 3.0


class Client:
    """Sends requests over at most `connections` kept-alive connections; no answer in `timeout_s` is a failure."""

    def __init__(self, url: str, connections: int, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Content-Type": "application/json"},
            skip_auto_headers=["User-Agent", "Accept", "Accept-Encoding"],
            timeout=aiohttp.ClientTimeout(total=timeout_s),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def check_reachable(self) -> None:
        """Raises FixRequest when the URL is none, FixSetup when nothing listens there."""
        try:
            async with self._session.get(f"{self._url}/v1/health") as response:
                await response.read()
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
            raise FixRequest("url", f"{self._url!r} is no address such as http://127.0.0.1:8000") from None
        except aiohttp.ClientConnectorError as error:
            raise FixSetup(f"no server at {self._url} ({error}); start one with `greenflow up`") from None
        except (aiohttp.ClientError, TimeoutError):
            return  # something listens: how well it answers is what the run measures

    async def send(self, body: bytes) -> Answer:
        """Ask for one recommendation. Never raises for what the server or the network does."""
        return await self._post(PATH, body, read_answer)

    async def tell(self, body: bytes) -> Answer:
        """Tell of what was earned; OK when that was taken in. Never raises for what the server or the network does."""
        return await self._post(FEEDBACK, body, read_acceptance)

    async def _post(self, path: str, body: bytes, read: Callable[[int, bytes], Answer]) -> Answer:
        try:
            async with self._session.post(self._url + path, data=body) as response:
                return read(response.status, await response.read())
        except TimeoutError:
            return Answer("timeout")
        except aiohttp.ClientConnectorError as error:
            return Answer("no connection", detail=str(error))
        except (aiohttp.ClientError, ConnectionError) as error:
            return Answer("connection broken", detail=f"{type(error).__name__}: {error}")


def read_answer(status: int, body: bytes) -> Answer:
    """What an HTTP answer means: good only with status 200 and a body that holds items."""
    if status != 200:
        return _refused(status, body)
    try:
        document = json.loads(body)
        items = tuple(item["item_id"] for item in document["items"])
        chain, degraded = document["chain"]["id"], bool(document["degraded"])
        known = document.get("request_id"), items, document.get("arm")
    except (ValueError, KeyError, TypeError) as error:
        return Answer("not a recommendation", status, detail=f"{error!r} in {body[:200]!r}")
    return Answer(OK if items else "no items", status, chain, degraded, "", *known)


def read_acceptance(status: int, body: bytes) -> Answer:
    """What an HTTP answer to feedback means."""
    return Answer(OK, status) if status == 202 else _refused(status, body)


def _refused(status: int, body: bytes) -> Answer:
    return Answer(f"http {status}", status, detail=body[:300].decode(errors="replace"))
