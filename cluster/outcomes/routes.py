"""POST /v1/feedback and GET /v1/savings: what requests have earned, and what the policy saves by measure."""

from collections.abc import Awaitable
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from cluster.http_bodies import invalid, later, problem, read_body
from cluster.outcomes.recorder import Recorder
from cluster.outcomes.schemas import Feedback, FeedbackBatch, FeedbackResponse, SavingsResponse
from cluster.outcomes.shipper import OutcomesDesk
from cluster.schemas import Detail, ProblemResponse
from models.errors import FixRequest, GreenFlowError, TryAgain

FEEDBACK, SAVINGS = "/v1/feedback", "/v1/savings"
NOBODY = "there is no allocator, so nothing is decided that feedback could belong to"
ANSWERS: dict[int | str, dict[str, Any]] = {
    404: {"model": Detail, "description": "There is no allocator"},
    503: {"model": Detail, "description": "Nobody can answer now; repeat after `Retry-After` seconds"},
}
ONE_OR_MANY: TypeAdapter[Feedback | FeedbackBatch] = TypeAdapter(Feedback | FeedbackBatch)
BODY = {"required": True, "content": {"application/json": {"schema": ONE_OR_MANY.json_schema()}}}
