"""One HTTP GET of a small JSON document: the only place of this folder that opens a socket."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from models.errors import TryAgain

if TYPE_CHECKING:
    import aiohttp

MOST_BYTES = 4 << 20
MOST_WAIT_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What to get. `headers` may hold a token, so they are left out wherever an Ask is printed."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. retry_after_s is what the server asks for before the next try, None where it asks for nothing."""

    status: int
    body: bytes
    retry_after_s: float | None = None


class Transport(Protocol):
    """Gets a document."""

    async def get(self, ask: Ask, timeout_s: float) -> Answer:
        """The answer, whatever its status. Raises TryAgain when none came in time. Follows no redirects, which would
        carry a token elsewhere."""
        ...


class HttpTransport:
    """Over the network, through the proxies that the environment names. A connection for each of the few documents."""

    async def get(self, ask: Ask, timeout_s: float) -> Answer:
        """As `Transport.get`; `timeout_s` is for everything from the look-up of the name to the last byte."""
        import aiohttp  # 0.1 s, which replicas that only import this file are spared

        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, trust_env=True) as session,
                session.get(
                    ask.url, headers={"accept": "application/json", **ask.headers}, allow_redirects=False
                ) as got,
            ):
                body = await _bounded(got)
                return Answer(got.status, body, _seconds(got.headers.get("retry-after")))
        except TimeoutError:
            raise TryAgain(f"{_host(ask.url)} did not answer within {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TryAgain(f"{_host(ask.url)} cannot be reached: {error}") from None


async def _bounded(got: "aiohttp.ClientResponse") -> bytes:
    body = bytearray()
    async for chunk in got.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MOST_BYTES:
            raise ValueError(f"the answer is longer than {MOST_BYTES} bytes")
    return bytes(body)


def _seconds(text: str | None) -> float | None:
    """Retry-After in seconds. Its other form, a date, is rare and not read."""
    return min(float(text), MOST_WAIT_S) if text is not None and text.isdigit() else None


def _host(url: str) -> str:
    return url.split("://", 1)[-1].split("/", 1)[0]
