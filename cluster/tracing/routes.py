"""POST /v1/trace: one request, run for itself and explained."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from pydantic_core import to_json

from cluster.http_bodies import invalid, later, problem, read_body
from cluster.schemas import Detail, ProblemResponse, RecommendRequest
from cluster.tracing.schemas import TraceResponse
from models.errors import FixRequest, OutOfTime, Overloaded, TryAgain

TRACE = "/v1/trace"
BODY = {"required": True, "content": {"application/json": {"schema": RecommendRequest.model_json_schema()}}}
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": TraceResponse},
    422: {"model": ProblemResponse},
    429: {"model": Detail, "description": "Another request is being traced; repeat after `Retry-After` seconds"},
    503: {"model": Detail, "description": "A stage cannot answer now; repeat after `Retry-After` seconds"},
    504: {"model": Detail, "description": "The time that the request gave is over"},
}
Trace = Callable[[RecommendRequest], Awaitable[dict[str, Any]]]


def add_tracing(app: FastAPI, trace: Trace, max_body_bytes: int) -> None:
    """The route."""

    @app.post(TRACE, response_model=None, responses=ANSWERS, openapi_extra={"requestBody": BODY})
    async def traced(request: Request) -> Response:
        """One request, explained: the chains that there were for it, which it got and why, and what every stage did.

        It runs for real, but is no part of the experiment, and counts as work only. One at a time.
        """
        try:
            body = await read_body(request.scope, request.receive, max_body_bytes)
            payload = await trace(RecommendRequest.model_validate_json(body))
            return Response(to_json(payload, inf_nan_mode="null"), media_type="application/json")
        except ValidationError as error:
            return invalid(error)
        except FixRequest as error:
            return problem(error.field, error.problem)
        except Overloaded as error:
            return JSONResponse({"detail": str(error)}, 429, headers={"Retry-After": "1"})
        except OutOfTime as error:
            return JSONResponse({"detail": str(error)}, 504)
        except TryAgain as error:
            return later(error)
