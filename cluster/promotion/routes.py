"""GET, PUT and DELETE /v1/reward-model: which one predicts, another one, and the one before."""

from collections.abc import Awaitable
from typing import Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from pydantic_core import to_json

from cluster.admin import ADMIN, admin_of, refused
from cluster.http_bodies import discard_body, read_body
from cluster.limits.tokens import Tokens
from cluster.promotion.port import Payload, PromotionDesk
from cluster.promotion.schemas import RewardModelsResponse
from cluster.schemas import Detail
from models.errors import GreenFlowError

PATH = "/v1/reward-model"
CONTENT = "application/octet-stream"
MOST_BYTES = 32 << 20
"""Of a model: it is kept in the ledger, and predicts in every replica."""
NOBODY = "no reward model predicts: there is no allocator, so requests run the static chain"
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": RewardModelsResponse},
    404: {"model": Detail, "description": "There is no allocator, or no reward model before the present one"},
    503: {"model": Detail, "description": "Nobody can answer now; repeat after `Retry-After` seconds"},
}
BODY = {"required": True, "content": {CONTENT: {"schema": {"type": "string", "format": "binary"}}}}


def add_promotion(app: FastAPI, desk: PromotionDesk | None, tokens: Tokens, most_bytes: int = MOST_BYTES) -> None:
    """The routes; without a desk they say that there is none.

    tokens  who may let another model predict; without any nobody may
    """

    async def there(request: Request) -> PromotionDesk:
        if desk is None:
            await discard_body(request.receive, most_bytes)
            raise HTTPException(404, NOBODY)
        return desk

    _add_reading(app, Depends(there))
    _add_changing(app, Depends(admin_of(tokens, most_bytes)), Depends(there), most_bytes)


def _add_reading(app: FastAPI, there: Any) -> None:
    @app.get(PATH, response_model=None, responses=ANSWERS)
    async def reward_model(desk: PromotionDesk = there) -> Response:
        """Which reward model predicts, since when and by whom, and which one did before."""
        return await _answer(desk.reward_models())


def _add_changing(app: FastAPI, admin: Any, there: Any, most_bytes: int) -> None:
    changes = {**ADMIN, **ANSWERS}

    @app.put(PATH, response_model=None, responses=changes, openapi_extra={"requestBody": BODY})
    async def put_reward_model(request: Request, author: str = admin, desk: PromotionDesk = there) -> Response:
        """Let another reward model predict: the ONNX file itself. It does within two windows, and across restarts until
        the cascade comes with another one of its own."""
        try:
            content = await read_body(request.scope, request.receive, most_bytes, CONTENT)
        except GreenFlowError as error:
            return refused(error)
        return await _answer(desk.put_reward_model(content, author))

    @app.delete(PATH, response_model=None, responses=changes)
    async def reward_model_back(author: str = admin, desk: PromotionDesk = there) -> Response:
        """Let the reward model before predict again; the present one is then the one before."""
        return await _answer(desk.reward_model_back(author))


async def _answer(payload: Awaitable[Payload]) -> Response:
    try:
        return Response(to_json(await payload), media_type="application/json")
    except GreenFlowError as error:
        return refused(error)
