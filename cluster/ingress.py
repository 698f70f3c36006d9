"""The HTTP API: a FastAPI application over a Recommender."""

import json
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cluster.schemas import (
    ChainsResponse,
    HealthResponse,
    ProblemResponse,
    RecommendRequest,
    RecommendResponse,
)
from cluster.service import Recommender
from models.errors import FixRequest, TryAgain

RETRY_AFTER_S = 1

DESCRIPTION = """A cascade recommender that chooses per request how much computation the request is worth."""


def make_app(recommender: Recommender, max_body_bytes: int) -> FastAPI:
    """The application. Responses are written straight to JSON: they need no second validation."""
    app = FastAPI(title="GreenFlow", description=DESCRIPTION, openapi_url="/openapi.json", docs_url="/docs")
    app.add_middleware(BodyLimit, max_bytes=max_body_bytes)
    app.add_exception_handler(FixRequest, _refuse)
    app.add_exception_handler(TryAgain, _try_again)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(400, _unreadable)
    chains = to_json(recommender.chains())

    @app.post(
        "/v1/recommend",
        response_model=None,
        responses={
            200: {"model": RecommendResponse},
            422: {"model": ProblemResponse},
            503: {"description": "A stage cannot answer now; repeat the request after `Retry-After` seconds"},
        },
    )
    async def recommend(request: RecommendRequest) -> Response:
        """The k best items for a user, and what it took to find them."""
        return _json(await recommender.recommend(request))

    @app.get("/v1/chains", response_model=None, responses={200: {"model": ChainsResponse}})
    async def list_chains() -> Response:
        """All action chains of the cascade with their costs."""
        return Response(chains, media_type="application/json")

    @app.get(
        "/v1/health",
        response_model=None,
        responses={200: {"model": HealthResponse}, 503: {"model": HealthResponse}},
    )
    async def health() -> Response:
        """200 only when every stage can answer."""
        state = await recommender.health()
        return _json(state, 200 if state["healthy"] else 503)

    return app


class BodyLimit:
    """Refuses a request whose body is longer than `max_bytes` with a 422, before it is read in full.

    A body of undeclared length is gathered here up to the limit; the server itself holds a declared length.
    """

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            return await self._app(scope, receive, send)
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), None)
        if declared is not None:
            if not declared.isdigit():
                return await _problem("body", "must have a length that is a number")(scope, receive, send)
            if int(declared) > self._max_bytes:
                return await self._refusal(scope, receive, send)
            return await self._app(scope, receive, send)
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > self._max_bytes:
                return await self._refusal(scope, receive, send)
        return await self._app(scope, _replay(body, receive), send)

    async def _refusal(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _problem("body", f"must not be longer than {self._max_bytes} bytes")(scope, receive, send)


def _replay(body: bytes, receive: Receive) -> Receive:
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return pending.pop() if pending else await receive()

    return replayed


def _json(content: Any, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")


def _problem(field: str, problem: str) -> Response:
    loc = ["body", *field.split(".")] if field != "body" else ["body"]
    return _problems([{"loc": loc, "msg": problem, "type": "value_error"}])


def _problems(detail: list[dict[str, Any]]) -> Response:
    # In ASCII: field names come from the caller and may hold what UTF-8 cannot, lone surrogates.
    return Response(json.dumps({"detail": detail}), 422, media_type="application/json")


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, FixRequest)
    return _problem(error.field, error.problem)


async def _invalid(_: Request, error: Exception) -> Response:
    """FastAPI's own 422, without the input: it may be long, and it is the caller's."""
    assert isinstance(error, RequestValidationError)
    return _problems([{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in error.errors()])


async def _unreadable(_: Request, error: Exception) -> Response:
    """What FastAPI answers 400 to: not UTF-8, nested too deeply, a number of thousands of digits."""
    return _problem("body", "must be JSON that can be read")


async def _try_again(_: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(RETRY_AFTER_S)})
