"""Who may change a running server over HTTP: the bearer token, and how refusals are answered; all such routes alike."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from cluster.http_bodies import discard_body, later, problem
from cluster.limits.tokens import Tokens
from cluster.schemas import Detail, ProblemResponse
from models.errors import FixRequest, GreenFlowError, NoSuch

NO_TOKEN = "nobody may change anything: no admin token is configured; set GREENFLOW_ADMIN_TOKEN where the server starts"
NO_BEARER = "changing this takes the header `Authorization: Bearer TOKEN`"
WRONG_TOKEN = "the token is none of this server's"

Bearer = Annotated[
    HTTPAuthorizationCredentials | None,
    Depends(HTTPBearer(auto_error=False, description="One of GREENFLOW_ADMIN_TOKEN.")),
]
ADMIN: dict[int | str, dict[str, Any]] = {
    401: {"model": Detail, "description": "The token is missing or wrong"},
    403: {"model": Detail, "description": "No admin token is configured"},
    422: {"model": ProblemResponse, "description": "Refused whole; nothing has changed"},
}
"""What a route may answer that changes something."""


def admin_of(
    tokens: Tokens, max_bytes: int
) -> Callable[[Request, HTTPAuthorizationCredentials | None], Awaitable[str]]:
    """A dependency of FastAPI's: the name of the token's holder. It answers 403 without tokens, 401 for a wrong one.

    max_bytes  a body may be so long
    """

    async def admin(request: Request, bearer: Bearer) -> str:
        try:
            return _holder(tokens, bearer)
        except HTTPException:
            await discard_body(request.receive, max_bytes)
            raise

    return admin


def _holder(tokens: Tokens, bearer: HTTPAuthorizationCredentials | None) -> str:
    if not tokens:
        raise HTTPException(403, NO_TOKEN)
    if bearer is None:
        raise HTTPException(401, NO_BEARER, {"WWW-Authenticate": "Bearer"})
    if (author := tokens.holder(bearer.credentials)) is None:
        raise HTTPException(401, WRONG_TOKEN, {"WWW-Authenticate": 'Bearer error="invalid_token"'})
    return author


def refused(error: GreenFlowError) -> Response:
    """404 for what is not there, 422 for what is wrong, 503 for what may be tried again."""
    if isinstance(error, NoSuch):
        return JSONResponse({"detail": error.problem}, 404)
    if isinstance(error, FixRequest):
        return problem(error.field, error.problem, "path" if error.field == "name" else "body")
    return later(error)
