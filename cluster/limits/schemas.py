"""Limits over HTTP."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictStr, WithJsonSchema

from allocator.limits import UNITS, Kind
from cluster.ledger.changes import LimitChange
from cluster.limits.stated import MOST, document

UNIT_TEXT = "; ".join(f"{kind}: {' or '.join(units)}" for kind, units in UNITS.items())
Amount = Annotated[float, Field(strict=True, ge=0, le=MOST, allow_inf_nan=False)]


class LimitRequest(BaseModel):
    """A limit to set."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"kind": "power", "limit": 150, "unit": "W"},
                {"kind": "energy", "limit": 2.5, "unit": "kWh/day"},
                {"kind": "carbon", "limit": 40, "unit": "g/h"},
            ]
        },
    )

    kind: Annotated[Kind, WithJsonSchema({"enum": list(Kind), "type": "string"}), Field(description="What is limited.")]
    limit: Annotated[Amount, Field(description="In `unit`.")]
    unit: Annotated[StrictStr, Field(max_length=16, description=f"One that goes with the kind; {UNIT_TEXT}.")]


class Stated(BaseModel):
    """A limit as it was stated."""

    kind: Kind
    limit: float
    unit: str


class LimitOut(Stated):
    """A limit in force, and how it stands. What is not known yet, before the first window under it, is null."""

    name: str
    spend: Annotated[
        float | None,
        Field(
            description="In `unit`: of the window that ended last; of a quota, what its hour or day has taken so far."
        ),
    ]
    price: Annotated[
        float | None, Field(description="Of the window that runs: predicted reward per unit of the resource.")
    ]
    reachable: Annotated[
        bool | None, Field(description="False where even the cheapest chains, with what runs idle, exceed the limit.")
    ]


class LimitsResponse(BaseModel):
    """All limits in force, by name."""

    constraints: list[LimitOut]


class ChangeOut(BaseModel):
    """A limit that was set, changed or removed; null is for no limit."""

    at_s: Annotated[float, Field(description="Unix time.")]
    author: Annotated[str, Field(description="Name of the token; `settings` where a deployment changed them since.")]
    name: str
    before: Stated | None
    after: Stated | None


class ChangesResponse(BaseModel):
    """Who changed which limit, the newest first."""

    changes: list[ChangeOut]


def change_payload(change: LimitChange) -> dict[str, Any]:
    """As `ChangeOut`."""
    return {
        "at_s": change.at_s,
        "author": change.author,
        "name": change.name,
        "before": change.before and document(change.before),
        "after": change.after and document(change.after),
    }
