"""One request, explained."""

from typing import Annotated

from pydantic import BaseModel, Field

from cluster.schemas import ChainOut, CostOut, Item


class PriceOut(BaseModel):
    """What a limit makes its resource cost: reward per unit."""

    constraint: str
    unit: Annotated[str, Field(description="J, g, s or FLOP.")]
    price: float


class ScoredItem(BaseModel):
    """An item, and the score of the stage that scored it last."""

    item_id: int | str
    score: float | None


class TracedStage(BaseModel):
    """What a stage did; a skipped one has no variant, and hands on what it was handed."""

    stage: str
    variant: str | None
    items_in: Annotated[int, Field(description="That it was handed; of recall, those of the index.")]
    items_out: int
    energy_j: Annotated[
        float | None, Field(description="By the energy model, of the stage alone; null while it is not known.")
    ]
    took_ms: float | None
    best: Annotated[list[ScoredItem], Field(description="The first of what it hands on.")]


class WeighedChain(ChainOut):
    """A chain as it was weighed for this request: `net` is `reward` less `priced`."""

    reward: Annotated[float, Field(description="Predicted for this request.")]
    cost: Annotated[CostOut, Field(description="Of this request, alone in its micro-batch.")]
    priced: Annotated[float, Field(description="What a usual request's cost comes to by the prices, in reward.")]
    net: float
    available: bool
    chosen: Annotated[bool, Field(description="Whether it ran.")]
    static: bool


class TraceResponse(BaseModel):
    """The answer, how it came about, and why by this chain."""

    user_id: int | str
    user_known: Annotated[
        bool,
        Field(
            description="Whether that very id, a number or a string, is in the cascade's user table; any other gets"
            " cold-start features."
        ),
    ]
    request_id: str
    policy_version: Annotated[int | None, Field(description="Null where no policy decided.")]
    degraded: Annotated[bool, Field(description="Nobody could decide, or a variant of the chosen chain was lost.")]
    took_ms: float
    chain: ChainOut
    cost: CostOut
    predicted_reward: float | None
    net: float | None
    prices: Annotated[list[PriceOut], Field(description="Of all limits in force.")]
    stages: list[TracedStage]
    items: list[Item]
    chains: Annotated[
        list[WeighedChain],
        Field(description="The greatest net reward first, 1,000 at most; empty where no policy decided."),
    ]
    chains_in_all: int
