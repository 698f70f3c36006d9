"""Feedback as clients send it, and savings as people are told of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StrictStr

MOST_FEEDBACK = 1000
MOST_REWARD = 1e9

RequestId = Annotated[StrictStr, Field(min_length=1, max_length=128)]


class Feedback(BaseModel):
    """What a request has earned: clicks, or money. Of several for one request the first counts."""

    model_config = ConfigDict(extra="forbid")

    request_id: Annotated[RequestId, Field(description="As the recommendation's response says.")]
    reward: Annotated[FiniteFloat, Field(ge=-MOST_REWARD, le=MOST_REWARD, description="In the reward model's unit.")]


class FeedbackBatch(BaseModel):
    """Feedback on many requests at a time."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"feedback": [{"request_id": "8c1f", "reward": 1.0}]}]}
    )

    feedback: Annotated[list[Feedback], Field(min_length=1, max_length=MOST_FEEDBACK)]


class FeedbackResponse(BaseModel):
    """How many were taken in. Whether they belong to known requests is found out later: see /v1/savings."""

    accepted: int


class IntervalOut(BaseModel):
    """Bounds between which the truth lies with 95% confidence."""

    low: float
    high: float


class FigureOut(BaseModel):
    """What the policy changes, of one quantity; null, with the reason, where it is not yet known.

    `fixed` holds for who looks once, at a time that was chosen beforehand; `always` for who looks as often as they
    like.
    """

    estimate: float
    fixed: IntervalOut
    always: IntervalOut
