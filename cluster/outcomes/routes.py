"""POST /v1/feedback and GET /v1/savings: what requests have earned, and what the policy saves by measure."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from cluster.http_bodies import invalid, later, problem, read_body
from cluster.outcomes.recorder import Recorder
from cluster.outcomes.schemas import Feedback, FeedbackBatch, FeedbackResponse, SavingsResponse
from cluster.outcomes.shipper import OutcomesDesk
from cluster.schemas import Detail, ProblemResponse
from models.errors import FixRequest, GreenFlowError, TryAgain

FEEDBACK, SAVINGS = "/v1/feedback", "/v1/savings"
NOBODY = "nothing is remembered of answers: there is no allocator, or experiment.enabled is false"
ANSWERS: dict[int | str, dict[str, Any]] = {
    404: {"model": Detail, "description": "There is no allocator, or `experiment.enabled` is false"},
    503: {"model": Detail, "description": "Nobody can answer now; repeat after `Retry-After` seconds"},
}


def add_outcomes(app: FastAPI, recorder: Recorder | None, desk: OutcomesDesk | None, max_body_bytes: int) -> None:
    """The routes; without a recorder and a desk they say that there is no allocator."""

    @app.post(
        FEEDBACK,
        response_model=None,
        status_code=202,
        responses={202: {"model": FeedbackResponse}, 422: {"model": ProblemResponse}, **ANSWERS},
        openapi_extra={"requestBody": _schema()},
    )
    async def feedback(request: Request) -> Response:
        """What requests have earned: one, or many at a time. Whoever may ask for recommendations may tell of them."""
        try:
            found = read_feedback(await read_body(request.scope, request.receive, max_body_bytes))
            if recorder is None:
                return JSONResponse({"detail": NOBODY}, 404)
            recorder.rewarded(found)
        except ValidationError as error:
            return invalid(error)
        except FixRequest as error:
            return problem(error.field, error.problem)
        except TryAgain as error:
            return later(error)
        return JSONResponse({"accepted": len(found)}, 202)

    @app.get(SAVINGS, response_model=None, responses={200: {"model": SavingsResponse}, **ANSWERS})
    async def savings() -> Response:
        """What the policy saves against the static chain, with the bounds of what is known of it."""
        if desk is None:
            return JSONResponse({"detail": NOBODY}, 404)
        try:
            return Response(to_json(await desk.savings()), media_type="application/json")
        except GreenFlowError as error:
            return later(error)


def read_feedback(body: bytes) -> list[tuple[str, float]]:
    """Requests' ids and rewards: one, or many. Raises ValidationError."""
    try:
        content = from_json(body)
    except ValueError:  # said in full by the validation that follows
        content = None
    if isinstance(content, dict) and "feedback" in content:
        found = FeedbackBatch.model_validate_json(body).feedback
    else:
        found = [Feedback.model_validate_json(body)]
    return [(one.request_id, one.reward) for one in found]


def _schema() -> dict[str, Any]:
    """Of either, with nothing to be looked up elsewhere in the document."""
    one, many = Feedback.model_json_schema(), FeedbackBatch.model_json_schema()
    many.pop("$defs")
    many["properties"]["feedback"]["items"] = one
    return {"required": True, "content": {"application/json": {"schema": {"anyOf": [one, many]}}}}
