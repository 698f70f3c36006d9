"""PUT, DELETE and GET /v1/constraints: what may be spent."""

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError
from pydantic_core import to_json

from cluster.admin import ADMIN, admin_of, refused
from cluster.http_bodies import invalid, read_body
from cluster.limits.desk import LimitDesk
from cluster.limits.holdable import NO_ALLOCATOR
from cluster.limits.schemas import ChangesResponse, LimitOut, LimitRequest, LimitsResponse
from cluster.limits.stated import limit_of
from cluster.limits.tokens import Tokens
from cluster.schemas import Detail
from models.errors import GreenFlowError

PATH = "/v1/constraints"
MOST_CHANGES = 1000
ANSWERS: dict[int | str, dict[str, Any]] = {
    404: {"model": Detail, "description": "There is no such limit, or no allocator that could hold one"},
    503: {"model": Detail, "description": "Nobody can answer now; repeat after `Retry-After` seconds"},
}
CHANGES: dict[int | str, dict[str, Any]] = {**ADMIN, **ANSWERS}
BODY = {"required": True, "content": {"application/json": {"schema": LimitRequest.model_json_schema()}}}


def add_limits(app: FastAPI, desk: LimitDesk | None, tokens: Tokens, max_body_bytes: int) -> None:
    """The routes; without a desk they say that there is none.

    tokens  who may change limits; without any nobody may
    """

    def there() -> LimitDesk:
        if desk is None:
            raise HTTPException(404, NO_ALLOCATOR)
        return desk

    _add_reading(app, Depends(there))
    _add_changing(app, Depends(admin_of(tokens, max_body_bytes)), Depends(there), max_body_bytes)


def _add_reading(app: FastAPI, there: Any) -> None:
    @app.get(PATH, response_model=None, responses={200: {"model": LimitsResponse}, **ANSWERS})
    async def constraints(desk: LimitDesk = there) -> Response:
        """All limits in force, what is spent of them, and their prices."""
        return await _listed("constraints", desk.constraints())

    @app.get(f"{PATH}/changes", response_model=None, responses={200: {"model": ChangesResponse}, **ANSWERS})
    async def changes(last: Annotated[int, Query(ge=0, le=MOST_CHANGES)] = 20, desk: LimitDesk = there) -> Response:
        """Who changed which limit, the newest first."""
        return await _listed("changes", desk.limit_changes(last))


def _add_changing(app: FastAPI, admin: Any, there: Any, max_body_bytes: int) -> None:
    @app.put(
        PATH + "/{name}",
        response_model=None,
        responses={200: {"model": LimitOut}, **CHANGES},
        openapi_extra={"requestBody": BODY},
    )
    async def put_limit(name: str, request: Request, author: str = admin, desk: LimitDesk = there) -> Response:
        """Set a limit, in place of what there was of this name. Holds within two windows, and across restarts."""
        try:
            body = await read_body(request.scope, request.receive, max_body_bytes)
            wanted = LimitRequest.model_validate_json(body)
            limit = limit_of(name, wanted.kind, wanted.limit, wanted.unit)
            return Response(to_json(await desk.put_limit(limit, author)), media_type="application/json")
        except ValidationError as error:
            return invalid(error)
        except GreenFlowError as error:
            return refused(error)

    @app.delete(PATH + "/{name}", response_model=None, status_code=204, responses=CHANGES)
    async def clear_limit(name: str, author: str = admin, desk: LimitDesk = there) -> Response:
        """Remove a limit, also one that came with the settings."""
        try:
            await desk.clear_limit(name, author)
        except GreenFlowError as error:
            return refused(error)
        return Response(status_code=204)


async def _listed(name: str, payload: Awaitable[list[dict[str, Any]]]) -> Response:
    try:
        return Response(to_json({name: await payload}), media_type="application/json")
    except GreenFlowError as error:
        return refused(error)
