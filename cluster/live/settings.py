"""Settings of the live page."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class PageSettings(BaseModel):
    """How many may look at what happens live.

    most_listeners  open streams of one ingress replica; more are answered 503. Each holds one of the replica's
                    max_ongoing_requests for as long as somebody looks
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    most_listeners: Annotated[int, Field(ge=1, le=10_000)] = 256
