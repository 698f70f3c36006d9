"""HTTP requests and responses."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr

Id = StrictInt | Annotated[StrictStr, Field(max_length=256)]
HISTORY_LIMIT = 1000
CONTEXT_LIMIT = 100
MOST_TIMEOUT_MS = 600_000


class RecommendRequest(BaseModel):
    """A request for recommendations.

    `context` and `history` override what is stored of the user, so that a session's fresh behaviour counts and a user
    outside the tables can be served well.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"user_id": 42}, {"user_id": 42, "k": 5, "history": [7, 9]}]},
    )

    user_id: Annotated[Id, Field(description="An id of the cascade's user table; any other gets cold-start features.")]
    k: Annotated[StrictInt | None, Field(description="How many items; 1 to the cascade's k, which is the default.")] = (
        None
    )
    request_id: Annotated[
        StrictStr | None,
        Field(
            min_length=1,
            max_length=128,
            description="Echoed; made up when left out. Each request's own: feedback finds its request by it.",
        ),
    ] = None
    context: Annotated[
        dict[str, Any] | None,
        Field(max_length=CONTEXT_LIMIT, description="Raw values of user features, by name."),
    ] = None
    history: Annotated[
        list[Id] | None,
        Field(max_length=HISTORY_LIMIT, description="Item ids, newest last; unknown ones are left out."),
    ] = None
    chain: Annotated[StrictStr | None, Field(max_length=512, description="Run this chain; see /v1/chains.")] = None
    timeout_ms: Annotated[
        StrictInt | None,
        Field(
            ge=1,
            le=MOST_TIMEOUT_MS,
            description="Of no use later than this: chains that are thought to take longer are left out, and when it is"
            " over the request is answered with 504. Left out: the setting batch.timeout_ms.",
        ),
    ] = None


class Item(BaseModel):
    """A recommended item, and the score that the last stage of the chain gave it."""

    item_id: int | str
    score: float


class ActionOut(BaseModel):
    """What the chain does in one stage; a skipped stage has no variant and no items."""

    stage: str
    variant: str | None
    items: int


class ChainOut(BaseModel):
    """A chain."""

    id: str
    stages: list[ActionOut]


class CostOut(BaseModel):
    """What a request costs. Fields that are not known are null; `quality` says how the joules are known."""

    flops: float | None = None
    energy_j: float | None = None
    co2e_g: float | None = None
    quality: str | None = None


class RecommendResponse(BaseModel):
    """Exactly k distinct items, best first, and what it took to find them.

    `predicted_reward` and `policy_version` are null where no policy chose the chain: the request named it, its user is
    held back, the allocator is off, or nobody could choose in time.
    """

    request_id: str
    items: list[Item]
    chain: ChainOut
    predicted_reward: float | None
    cost: CostOut
    policy_version: int | None
    degraded: Annotated[
        bool,
        Field(
            description="Nobody could choose a chain, and the safe one ran; or none was thought to be in time for"
            " timeout_ms, and the quickest ran; or a variant of the chosen one was lost, and the nearest ran."
        ),
    ]
    arm: Annotated[
        str | None,
        Field(
            description="policy, or holdback: this user's requests run the static chain, so that what the policy saves"
            " can be measured; or named: the request names its chain. Null where nothing is held back."
        ),
    ] = None


class ChainListing(ChainOut):
    """A chain with its cost."""

    cost: CostOut
    static: bool


class ChainsResponse(BaseModel):
    """All chains of the cascade, in their fixed order."""

    cascade: str
    k: int
    chains: list[ChainListing]


class ConstraintOut(BaseModel):
    """A constraint in the window that ended last; a limit of null means that there is none."""

    name: str
    kind: Annotated[str, Field(description="power, energy, carbon, compute or flops.")]
    limit: float | None
    unit: Annotated[str, Field(description="Of limit and spend.")]
    spend: Annotated[float, Field(description="Of that window; of a quota, what its hour or day has taken so far.")]
    price: Annotated[float, Field(description="Of the window that runs: predicted reward per unit of the resource.")]
    reachable: Annotated[bool, Field(description="Whether any choice of chains can hold the limit.")]


class PolicyResponse(BaseModel):
    """The policy by which requests get their chains, as the replica that answers knows it."""

    version: Annotated[int, Field(description="Rises with every snapshot; those of one version decide alike.")]
    time_s: Annotated[float, Field(description="When the snapshot was made, Unix time.")]
    age_s: Annotated[float, Field(description="Since the controller confirmed it.")]
    stale: Annotated[bool, Field(description="Not confirmed for too long; prices hold meanwhile.")]
    reward_model: str
    constraints: list[ConstraintOut]
    available: Annotated[int, Field(description="How many chains may be taken.")]
    masked: Annotated[list[str], Field(description="Chains that may not; the first 100.")]
    safe_chain: Annotated[str, Field(description="What a request takes when nobody can decide in time.")]
    deciding_cpu_s: Annotated[
        float, Field(description="Processor time that decisions took in all replicas since the controller began.")
    ]


class DeviceOut(BaseModel):
    """What a device draws now. `quality` says how that is known: measured, modelled or assumed."""

    device: str
    kind: Annotated[str, Field(description="package, dram, gpu, module or host.")]
    source: Annotated[str, Field(description="The sensor that reads it.")]
    quality: str
    power_w: Annotated[float | None, Field(description="Mean of the last window; null before its meter moves.")]


class NodeOut(BaseModel):
    """A node, and the devices that are billed through its meter."""

    node: str
    host: Annotated[str, Field(description="The machine; nodes of one host share its devices.")]
    power_w: Annotated[float | None, Field(description="Of its devices; null while none of their meters moves.")]
    devices: list[DeviceOut]


class RefusalOut(BaseModel):
    """A sensor, or what of it, that is not read, why, and the remedy ("" for none)."""

    sensor: str
    what: str
    problem: str
    remedy: str


class PowerResponse(BaseModel):
    """Power now: the last window that was billed."""

    time_s: Annotated[float, Field(description="When that window ended, Unix time.")]
    power_w: Annotated[
        float | None, Field(description="Of all devices; null while no meter has told any watts, as right after start.")
    ]
    unknown: Annotated[str | None, Field(description="Why power_w is null; null when it is not.")]
    quality: Annotated[str | None, Field(description="The worst of the devices'; null when none is read.")]
    nodes: list[NodeOut]
    not_read: list[RefusalOut]
    ledger_error: Annotated[str | None, Field(description="Why the account cannot be written; null when it can.")]


class Detail(BaseModel):
    """Why there is no answer."""

    detail: str


class HealthResponse(BaseModel):
    """Whether every stage can answer, and the reason for each variant that cannot."""

    healthy: bool
    cascade: str
    variants: dict[str, str]


class FieldProblem(BaseModel):
    """One thing that is wrong with a request."""

    loc: list[str | int]
    msg: str
    type: str


class ProblemResponse(BaseModel):
    """Why a request was refused; `loc` is the path to the field."""

    detail: list[FieldProblem]
