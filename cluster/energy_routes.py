"""GET /v1/power and /v1/energy: what is drawn now, and the account. Requests for recommendations ask nobody there."""

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import FastAPI, Query
from fastapi.responses import JSONResponse, Response
from pydantic_core import to_json

from cluster.bookkeeping import EnergyDesk
from cluster.reporting.payload import EnergyResponse
from cluster.schemas import Detail, PowerResponse
from models.errors import GreenFlowError

RETRY_AFTER_S = 1
MOST_WINDOWS = 3600
NOBODY: dict[int | str, dict[str, Any]] = {
    404: {"model": Detail, "description": "Joules are not accounted for: setting energy.enabled is false"},
    503: {"model": Detail, "description": "Nobody can tell now; repeat after `Retry-After` seconds"},
}


def add_energy(app: FastAPI, desk: EnergyDesk | None) -> None:
    """The routes; without a desk they say that there is none."""

    @app.get("/v1/power", response_model=None, responses={200: {"model": PowerResponse}, **NOBODY})
    async def power() -> Response:
        """Watts by node and device in the last window, and how they are known."""
        return await _answer(None if desk is None else desk.power())

    @app.get("/v1/energy", response_model=None, responses={200: {"model": EnergyResponse}, **NOBODY})
    async def energy(windows: Annotated[int, Query(ge=0, le=MOST_WINDOWS)] = 60) -> Response:
        """Joules and grams since the ledger begins, and its newest windows."""
        return await _answer(None if desk is None else desk.energy(windows))


async def _answer(payload: Awaitable[dict[str, Any]] | None) -> Response:
    if payload is None:
        return JSONResponse({"detail": "joules are not accounted for: setting energy.enabled is false"}, 404)
    try:
        return Response(to_json(await payload), media_type="application/json")
    except GreenFlowError as error:
        return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(RETRY_AFTER_S)})
