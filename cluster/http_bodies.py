"""Bodies of HTTP requests, read within bounds, and the answers that refuse them: every route's are alike."""

import json
from typing import Any

from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.types import Receive, Scope

from models.errors import FixRequest, GreenFlowError

RETRY_AFTER_S = 1


JSON = "application/json"


async def read_body(scope: Scope, receive: Receive, max_bytes: int, kind: str = JSON) -> bytes:
    """The request's body.

    Raises FixRequest when it is longer than `max_bytes`, before it is read in full, and when it is not declared to be
    of that kind: browsers let any page post plain text to a server on loopback.
    """
    headers = dict(scope["headers"])
    if not headers.get(b"content-type", b"").lower().startswith(kind.encode()):
        await discard_body(receive, max_bytes)
        raise FixRequest("body", f"must be sent with content-type: {kind}")
    length = headers.get(b"content-length", b"0")
    if not length.isdigit():
        raise FixRequest("body", "must have a length that is a number")
    body = bytearray()
    more = int(length) <= max_bytes
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False) and len(body) <= max_bytes
    if max(len(body), int(length)) > max_bytes:
        raise FixRequest("body", f"must not be longer than {max_bytes} bytes")
    return bytes(body)


async def discard_body(receive: Receive, max_bytes: int) -> None:
    """Read on, for nothing, while there is more: who is refused while still sending sees a broken connection instead of
    the reason."""
    read, more = 0, True
    while more and read <= max_bytes:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)


def later(error: GreenFlowError) -> Response:
    """Nobody can answer now."""
    return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(RETRY_AFTER_S)})


def problem(field: str, said: str, part: str = "body") -> Response:
    """What is wrong with one field of that part of the request: body, path or query."""
    loc = [part, *field.split(".")] if field != part else [part]
    return _problems([{"loc": loc, "msg": said, "type": "value_error"}])


def invalid(error: ValidationError) -> Response:
    """What is wrong with each field, without the input: it may be long, and it is the caller's."""
    found = error.errors(include_url=False, include_input=False, include_context=False)
    return _problems([{"loc": ["body", *e["loc"]], "msg": e["msg"], "type": e["type"]} for e in found])


def _problems(detail: list[dict[str, Any]]) -> Response:
    # In ASCII: field names come from the caller and may hold what UTF-8 cannot, lone surrogates.
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")
