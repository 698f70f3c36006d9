"""The HTTP API: a FastAPI application over a Recommender."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from pydantic_core import to_json
from starlette.types import Receive, Scope, Send

from cluster.bookkeeping import EnergyDesk
from cluster.energy_routes import add_energy
from cluster.events import Event, Seldom, happened
from cluster.http_bodies import invalid, later, problem, read_body
from cluster.leaving import cancelled_when_the_client_leaves
from cluster.limits.desk import LimitDesk
from cluster.limits.routes import add_limits
from cluster.limits.tokens import Tokens
from cluster.live.hub import Hub
from cluster.live.routes import add_live
from cluster.outcomes.routes import add_outcomes
from cluster.outcomes.shipper import OutcomesDesk
from cluster.page.assemble import page
from cluster.promotion.port import PromotionDesk
from cluster.promotion.routes import add_promotion
from cluster.schemas import (
    ChainsResponse,
    Detail,
    HealthResponse,
    PolicyResponse,
    ProblemResponse,
    RecommendRequest,
    RecommendResponse,
)
from cluster.service import Recommender
from cluster.tracing.routes import add_tracing
from models.errors import FixRequest, OutOfTime, TryAgain

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

RECOMMEND = "/v1/recommend"
NOBODY = Tokens()
logger = logging.getLogger(__name__)

DESCRIPTION = """A cascade recommender that chooses per request how much computation the request is worth."""


class Api(FastAPI):
    """The application.

    Recommendations take a short way: one read, one validation, one write. FastAPI's own way to the same handler is a
    good part of what an ingress spends on a request; it still describes the route, and serves all the others.
    """

    def __init__(self, recommender: Recommender, max_body_bytes: int, lifespan: Lifespan | None) -> None:
        super().__init__(
            title="GreenFlow",
            description=DESCRIPTION,
            openapi_url="/openapi.json",
            docs_url="/docs",
            lifespan=lifespan,
        )
        self._recommender, self._max_body_bytes = recommender, max_body_bytes
        self._failed = Seldom(time.monotonic)
        _add_routes(self, recommender)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry."""
        if scope["type"] != "http" or scope["method"] != "POST" or _path(scope) != RECOMMEND:
            await super().__call__(scope, receive, send)
        else:
            answer = await self._answer(scope, receive)
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        came_s = asyncio.get_running_loop().time()
        try:
            body = await read_body(scope, receive, self._max_body_bytes)
            request = RecommendRequest.model_validate_json(body)
            with cancelled_when_the_client_leaves(scope, receive):
                return _json(await self._recommender.recommend(request, came_s))
        except FixRequest as error:
            return problem(error.field, error.problem)
        except ValidationError as error:
            return invalid(error)
        except OutOfTime as error:
            return JSONResponse({"detail": str(error)}, 504)
        except TryAgain as error:
            return later(error)
        except Exception:
            if (more := self._failed.passed()) is not None:
                happened(logger, Event.REQUEST_FAILED, "a recommendation failed (%d more untold)", more, trace=True)
            return JSONResponse({"detail": "internal error; the server's log has the details"}, 500)


def make_app(
    recommender: Recommender,
    max_body_bytes: int,
    lifespan: Lifespan | None = None,
    energy: EnergyDesk | None = None,
    limits: LimitDesk | None = None,
    admins: Tokens = NOBODY,
    outcomes: OutcomesDesk | None = None,
    promotion: PromotionDesk | None = None,
    live: Hub | None = None,
) -> FastAPI:
    """The application over a Recommender; a request's body may be `max_body_bytes` long.

    It takes requests while `lifespan` is entered.

    energy  who answers for joules; None where nobody accounts for them
    limits  who answers for limits; None where nobody could hold one
    admins  who may change them
    outcomes  who keeps the account of what requests earn; None where nothing is decided
    promotion who answers for reward models; None where none predicts
    live      by whom people look at what happens; None where nobody counts
    """
    app = Api(recommender, max_body_bytes, lifespan)
    add_energy(app, energy)
    add_limits(app, limits, admins, max_body_bytes)
    add_promotion(app, promotion, admins)
    add_outcomes(app, recommender.recorder if outcomes is not None else None, outcomes, max_body_bytes)
    add_live(app, live, page)
    add_tracing(app, recommender.trace, max_body_bytes)
    return app


def _add_routes(app: FastAPI, recommender: Recommender) -> None:
    chains = to_json(recommender.chains())

    @app.post(
        RECOMMEND,
        response_model=None,
        responses={
            200: {"model": RecommendResponse},
            422: {"model": ProblemResponse},
            503: {
                "model": Detail,
                "description": "Too many wait, or a stage cannot answer now; repeat after `Retry-After` seconds",
            },
            504: {"model": Detail, "description": "The time that the request gave is over"},
        },
    )
    async def recommend(request: RecommendRequest) -> Response:
        """The k best items for a user, and what it took to find them."""
        return _json(await recommender.recommend(request))

    @app.get("/v1/chains", response_model=None, responses={200: {"model": ChainsResponse}})
    async def list_chains() -> Response:
        """All action chains of the cascade with their costs."""
        return Response(chains, media_type="application/json")

    _add_policy(app, recommender)

    @app.get(
        "/v1/health",
        response_model=None,
        responses={200: {"model": HealthResponse}, 503: {"model": HealthResponse}},
    )
    async def health() -> Response:
        """200 only when every stage can answer."""
        state = await recommender.health()
        return _json(state, 200 if state["healthy"] else 503)


def _add_policy(app: FastAPI, recommender: Recommender) -> None:
    @app.get(
        "/v1/policy",
        response_model=None,
        responses={
            200: {"model": PolicyResponse},
            404: {"model": Detail, "description": "No allocator: requests that name no chain run the static one"},
            503: {"model": Detail, "description": "No policy has come yet; repeat after `Retry-After` seconds"},
        },
    )
    async def policy() -> Response:
        """Prices, limits, spend and mask: by what requests get their chains. Asks nobody, so it answers at once."""
        try:
            state = recommender.policy()
        except TryAgain as error:
            return later(error)
        if state is None:
            static = recommender.space.static.id
            return _json({"detail": f"there is no allocator; requests that name no chain run {static}"}, 404)
        return _json(state)


def _path(scope: Scope) -> str:
    """The path below the application's own prefix."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


def _json(content: Any, status: int = 200) -> Response:
    return Response(to_json(content), status, media_type="application/json")
