"""Reward models over HTTP."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from cluster.promotion.desk import ModelDesk, Term


class RewardModelOut(BaseModel):
    """A reward model that predicts, or did."""

    name: Annotated[str, Field(description="What /v1/policy calls it: its file and the start of its SHA-256.")]
    sha256: str
    own: Annotated[bool, Field(description="Whether it is the one that the cascade's file names.")]
    author: Annotated[
        str | None,
        Field(description="Name of the token by which it was promoted; null for the cascade's from the start."),
    ]
    since_s: Annotated[
        float | None,
        Field(description="Unix time from which on it predicts, or did; null for the cascade's from the start."),
    ]


class RewardModelsResponse(BaseModel):
    """Which reward model predicts, and which did before it; null where no other has."""

    current: RewardModelOut
    previous: RewardModelOut | None


def models_payload(desk: ModelDesk) -> dict[str, Any]:
    """As `RewardModelsResponse`."""
    current, previous = desk.terms
    return {"current": _payload(desk, current), "previous": None if previous is None else _payload(desk, previous)}


def _payload(desk: ModelDesk, term: Term) -> dict[str, Any]:
    return {
        "name": term.model.name,
        "sha256": term.model.sha256,
        "own": desk.is_own(term.model),
        "author": term.author or None,
        "since_s": term.since_s,
    }
