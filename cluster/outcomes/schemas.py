"""Feedback as clients send it, and savings as people are told of them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictStr

MOST_FEEDBACK = 1000
MOST_REWARD = 1e9

RequestId = Annotated[StrictStr, Field(min_length=1, max_length=128)]


class Feedback(BaseModel):
    """What a request has earned: clicks, or money. Of several for one request the first counts."""

    model_config = ConfigDict(extra="forbid")

    request_id: Annotated[RequestId, Field(description="As the recommendation's response says.")]
    reward: Annotated[
        float,
        Field(
            strict=True,
            allow_inf_nan=False,
            ge=-MOST_REWARD,
            le=MOST_REWARD,
            description="In the reward model's unit.",
        ),
    ]


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
    """A value and its bounds."""

    value: float
    fixed: Annotated[IntervalOut, Field(description="For one look, at a time that was chosen before.")]
    sequential: Annotated[IntervalOut, Field(description="For all looks at once: look as often as you like.")]


class SavedOut(BaseModel):
    """One quantity under the static chain, less the same under the policy.

    What is spent is saved where that is positive. Of reward it is what is forgone: below zero where the policy earns
    more.
    """

    static: Annotated[float | None, Field(description="Mean of a request that was held back.")]
    policy: Annotated[float | None, Field(description="Mean of a request that the policy decided.")]
    per_request: FigureOut | None
    relative: Annotated[FigureOut | None, Field(description="Share of the static chain's mean.")]
    total: Annotated[FigureOut | None, Field(description="Of all requests that the policy decided.")]
    reason: Annotated[str, Field(description="Why one of them is null: not yet known; empty when all are known.")]


class QuantitiesOut(BaseModel):
    """What is compared, each in its unit; the reward in the reward model's."""

    energy_j: SavedOut
    flops: SavedOut
    co2e_g: SavedOut
    reward: SavedOut


class CountsOut(BaseModel):
    """Requests in the comparison, and those that ingress replicas could not remember for it."""

    policy: int
    holdback: int
    lost: int


class FeedbackOut(BaseModel):
    """What became of feedback, since the account was opened last."""

    joined: Annotated[int, Field(description="Found its request.")]
    repeated: Annotated[int, Field(description="Its request had some already; it counts for nothing.")]
    late: Annotated[int, Field(description="Came when its request's time was over, or was not waited for any more.")]
    unknown: Annotated[int, Field(description="No request of that id is remembered.")]
    waiting: Annotated[int, Field(description="Came before its request, and waits for it.")]


class DecisionsOut(BaseModel):
    """Requests that wait for feedback, and those whose reward is final, hurried ones for lack of memory."""

    pending: int
    matured: int
    hurried: int
    duplicates: Annotated[
        int, Field(description="Had the id of another request that is remembered still, and count for nothing.")
    ]


class BudgetOut(BaseModel):
    """What requests earned under one budget, since the account was opened last: sums, in the reward model's unit."""

    budget: Annotated[str, Field(description="The limits that were in force; empty for none.")]
    requests: int
    predicted: float
    realised: float


class ChainRewardOut(BaseModel):
    """What requests earned under one chain since the reward model came: means."""

    chain: str
    requests: int
    predicted: float
    realised: float


class AlarmOut(BaseModel):
    """Rewards are no longer what is predicted."""

    side: Annotated[str, Field(description="low: they earn less; high: they earn more.")]
    time_s: Annotated[float, Field(description="Since when that is known, Unix time.")]


class DriftOut(BaseModel):
    """Whether rewards come true as predicted, over the last hours."""

    reward_model: str
    requests: Annotated[int, Field(description="Whose reward is final, since the model came.")]
    ratio: Annotated[float | None, Field(description="Realised over predicted.")]
    low: Annotated[float | None, Field(description="Of its 95% interval.")]
    high: float | None
    tolerance: Annotated[float, Field(description="A ratio within 1 +- this is no drift.")]
    alarm: AlarmOut | None
    alarms: int
    evidence: Annotated[float, Field(description="For drift, from 0 to 1, where an alarm is raised.")]
    detects_within: Annotated[
        float | None,
        Field(description="Requests until a ratio that moves by twice the tolerance is an alarm; null: unknown."),
    ]


class RewardOut(BaseModel):
    """Realised beside predicted reward."""

    budgets: list[BudgetOut]
    chains: Annotated[list[ChainRewardOut], Field(description="The 50 with most requests.")]
    drift: Annotated[DriftOut | None, Field(description="Null while no feedback has come.")]


class LogOut(BaseModel):
    """The log of decisions."""

    written: Annotated[int, Field(description="Decisions in files.")]
    dropped: Annotated[int, Field(description="Rows that could not be written.")]
    waiting: Annotated[int, Field(description="Rows in memory.")]
    error: Annotated[str | None, Field(description="Why nothing can be written; null while it can.")]


class SavingsResponse(BaseModel):
    """What the policy saves, against users whose requests run the static chain."""

    holdback: Annotated[float, Field(description="Share of users that is held back.")]
    requests: CountsOut
    quantities: QuantitiesOut
    feedback: FeedbackOut
    decisions: DecisionsOut
    reward: RewardOut
    log: LogOut
