"""The admin API of a running server, called from the command line."""

import http.client
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from cluster.direct import DIRECT
from cluster.limits.tokens import pairs
from cluster.schemas import ProblemResponse
from models.errors import FixFile, FixRequest, FixSetup, GreenFlowError, TryAgain

Document = TypeVar("Document", bound=BaseModel)

JSON = "application/json"
ADDRESS = re.compile(r"https?://(\[[0-9a-fA-F:.]+\]|[^\s/?#:@\[\]]+)(:\d{1,5})?(/[^\s?#]*)?")
TIMEOUT_S = 15.0
MOST_BYTES = 4 << 20
NO_ROUTE = "Not Found"
"""What FastAPI says of a path that it does not know."""
ANOTHER = "is it another server, or an older version?"
NEEDED = "changing this takes a token of the server's: set GREENFLOW_ADMIN_TOKEN, or name a file by --token-file"


class AdminClient:
    """Asks one server, directly: not by way of a proxy, which would see the token.

    url         such as http://127.0.0.1:8000
    token       "" where nothing is to be changed
    most_bytes  of an answer
    Errors: FixSetup (no server, no such thing there, no or a wrong token), FixRequest (as the server says), TryAgain.
    """

    def __init__(self, url: str, token: str = "", timeout_s: float = TIMEOUT_S, most_bytes: int = MOST_BYTES) -> None:
        if not ADDRESS.fullmatch(url):
            raise FixRequest("url", f"{url!r} is no address such as http://127.0.0.1:8000")
        self._url, self._token, self._timeout_s = url.rstrip("/"), token, timeout_s
        self._most_bytes = most_bytes

    def call(self, method: str, path: str, body: bytes | None = None, kind: str = JSON) -> bytes:
        """The body of a good answer. Whatever changes something carries the token."""
        headers = {"accept": JSON, "content-type": kind}
        if method != "GET":
            if not self._token:
                raise FixSetup(NEEDED)
            headers["authorization"] = f"Bearer {self._token}"
        return self._answer(method, path, body, headers)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str]) -> Iterator[Iterator[bytes]]:
        """The lines of an answer that goes on. Errors as those of `call`, also while it is read: it is lost when
        nothing has come for `timeout_s`."""
        request = urllib.request.Request(f"{self._url}{path}", None, dict(headers))
        with self._open(request) as answer:
            yield self._lines(answer)

    def _lines(self, answer: Any) -> Iterator[bytes]:
        try:
            while line := answer.readline(self._most_bytes):
                yield line
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None

    def read(self, model: type[Document], body: bytes) -> Document:
        """An answer as the document that it is to be."""
        try:
            return model.model_validate_json(body)
        except ValidationError:
            raise FixSetup(f"{self._url} does not answer as GreenFlow does: {ANOTHER}") from None

    def _answer(self, method: str, path: str, data: bytes | None, headers: dict[str, str]) -> bytes:
        request = urllib.request.Request(f"{self._url}{path}", data, headers, method=method)
        with self._open(request) as answer:
            try:
                body: bytes = answer.read(self._most_bytes)
                return body
            except (OSError, http.client.HTTPException) as error:
                raise self._lost(error) from None

    def _open(self, request: urllib.request.Request) -> Any:
        try:
            return DIRECT.open(request, timeout=self._timeout_s)
        except urllib.error.HTTPError as error:
            with error:
                raise self._refusal(error.code, error.read(MOST_BYTES)) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from None

    def _lost(self, error: Exception) -> GreenFlowError:
        """What a connection that failed or broke means."""
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            return TryAgain(f"{self._url} did not answer in {self._timeout_s:g} s")
        return FixSetup(f"no server at {self._url} ({reason}); start one with `greenflow up`")

    def _refusal(self, status: int, body: bytes) -> GreenFlowError:
        """What an answer other than good means for whoever called."""
        detail = _detail(body)
        if status == 422 and isinstance(detail, list):
            first = ProblemResponse.model_validate({"detail": detail}).detail[0]
            return FixRequest(".".join(map(str, first.loc[1:])) or "body", first.msg)
        if not isinstance(detail, str) or detail == NO_ROUTE:
            return FixSetup(f"{self._url} answers HTTP {status}, not as GreenFlow does: {ANOTHER}")
        if status == 401:
            return FixSetup(f"{self._url} refuses the token: {detail}; {NEEDED}")
        return TryAgain(f"{self._url}: {detail}") if status == 503 else FixSetup(f"{self._url}: {detail}")


def token_in(file: Path) -> str:
    """The first token of a file, which holds what GREENFLOW_ADMIN_TOKEN would. Raises FixFile."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FixFile(file, "", f"cannot be read ({error})") from None
    try:
        token = first_token(text)
    except ValueError as error:
        raise FixFile(file, "", str(error)) from None
    if not token:
        raise FixFile(file, "", "holds no token")
    return token


def first_token(text: str) -> str:
    """The first token of what GREENFLOW_ADMIN_TOKEN may hold, "" for none. Raises ValueError that tells no token."""
    found = pairs(text)
    return found[0][1] if found else ""


def _detail(body: bytes) -> Any:
    try:
        return json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        return None
