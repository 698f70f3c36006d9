"""What the live stream's events say."""

from typing import Annotated

from pydantic import BaseModel, Field

from cluster.limits.schemas import LimitOut
from cluster.schemas import PowerResponse


class SharesOut(BaseModel):
    """Shares of the joules by how they are known."""

    measured: float
    modelled: float
    assumed: float


class SpentOut(BaseModel):
    """What was spent since `start_s`, Unix time."""

    start_s: float
    energy_j: Annotated[float, Field(description="Of the machines.")]
    facility_j: Annotated[float, Field(description="Of the building: times PUE.")]
    grams: Annotated[
        float | None, Field(description="CO2e by the kind of intensity in use now; null while nobody knows it.")
    ]
    requests: int
    items: int
    shares: SharesOut


class EnergyOut(BaseModel):
    """What the ledger holds."""

    since_s: Annotated[float, Field(description="With which it begins, Unix time.")]
    today: Annotated[SpentOut, Field(description="Since midnight UTC.")]
    total: SpentOut


class CarbonOut(BaseModel):
    """The grid's intensity now, and what the building adds."""

    zone: str
    g_per_kwh: float
    kind: Annotated[str, Field(description="average or marginal.")]
    quality: str
    pue: float
    pue_quality: str
    stale: bool


class LatencyOut(BaseModel):
    """Quantiles of what answers took at the ingress replicas, to about a tenth."""

    p50: float
    p90: float
    p99: float


class RequestsOut(BaseModel):
    """What was asked and answered in the window."""

    per_s: float
    decided_per_s: float
    degraded_per_s: Annotated[dict[str, float], Field(description="By reason.")]
    reward_per_s: Annotated[float, Field(description="Predicted, of the requests that a policy decided.")]
    latency_ms: LatencyOut | None
    energy_j: Annotated[float | None, Field(description="Mean joules that a request's own work is put down to.")]


class ActionShareOut(BaseModel):
    """An action, and the share of the stage's requests that took it; a skipped stage has no variant."""

    variant: str | None
    items: int
    share: float


class MixOut(BaseModel):
    """A stage, and what requests did in it, the most usual first."""

    stage: str
    actions: list[ActionShareOut]


class BoundsOut(BaseModel):
    """A value and its 95% bounds, which hold however often one looks."""

    value: float
    low: float
    high: float


class SavedLiveOut(BaseModel):
    """What the policy saves of one quantity against the static chain."""

    relative: BoundsOut | None
    total: BoundsOut | None
    reason: Annotated[str, Field(description="Why one of them is null.")]


class SavingsOut(BaseModel):
    """As /v1/savings has it; a few seconds old."""

    arms: Annotated[dict[str, int], Field(description="Requests compared, by policy and holdback.")]
    energy_j: SavedLiveOut
    reward: SavedLiveOut
    co2e_g: SavedLiveOut


class PolicyOut(BaseModel):
    """The policy that the replica decides by which answers."""

    version: int
    reward_model: str
    available: Annotated[int, Field(description="Chains that may be taken, of `chains`.")]
    chains: int
    stale: bool


class NoteOut(BaseModel):
    """Something that is wrong, or worth knowing, and what to do about it."""

    level: Annotated[str, Field(description="error, warning or info.")]
    code: Annotated[
        str,
        Field(description="sensor_lost, estimated, ledger, drift, limit_unreachable, limit_exceeded, stale, degraded."),
    ]
    text: str


class WindowEvent(BaseModel):
    """`event: window`: how things stand, once a window and at most once a second."""

    time_s: Annotated[float, Field(description="When the window ended, Unix time; also the event's id.")]
    window_s: float
    power: Annotated[PowerResponse | None, Field(description="Null where joules are not accounted for.")]
    energy: Annotated[
        EnergyOut | None,
        Field(description="Null without an account of joules, and while the ledger has nothing or cannot be read."),
    ]
    carbon: CarbonOut | None
    constraints: list[LimitOut]
    requests: RequestsOut
    mix: list[MixOut]
    savings: SavingsOut | None
    policy: PolicyOut | None
    notes: list[NoteOut]


class PointConstraint(BaseModel):
    """A limit in one step: as it was last, with mean spend and price."""

    limit: float
    spend: float | None
    price: float | None


class HistoryPoint(BaseModel):
    """A step of the history: means over it. What is not known is null or left out."""

    time_s: Annotated[float, Field(description="When its last window ended, Unix time.")]
    power_w: float | None
    devices: Annotated[
        dict[str, float | None], Field(description="By host/device; by host where there are more than 32.")
    ]
    requests_per_s: float | None
    degraded_per_s: float | None
    latency_p50_ms: float | None
    latency_p99_ms: float | None
    reward_per_s: float | None
    energy_j_per_request: float | None
    g_per_kwh: float | None
    constraints: dict[str, PointConstraint]
    mix: Annotated[dict[str, dict[str, float]], Field(description="Shares by stage and variant@items, or skip.")]


class HistoryEvent(BaseModel):
    """`event: history`, the first one: up to three hours, the newest step last, which may be unfinished.

    To a listener that comes back with `Last-Event-ID` only what is later: `resumed`.
    """

    step_s: float
    resumed: bool
    points: list[HistoryPoint]


class GoneEvent(BaseModel):
    """`event: gone`: nobody can tell now. The stream stays open, and goes on by itself."""

    detail: str


class LiveEvents(BaseModel):
    """The `data` of the stream's events, by their `event`."""

    history: HistoryEvent
    window: WindowEvent
    gone: GoneEvent
