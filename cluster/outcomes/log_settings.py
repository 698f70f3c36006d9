"""What the operator says about feedback, and about the log of decisions and outcomes."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


class FeedbackSettings(BaseModel):
    """How rewards that clients report find the requests that they are of, and what is made of them.

    horizon_s         after so long a request's reward is final: what was reported, else 0
    early_s           a report whose request is not known yet waits so long for it
    most_pending      requests that wait for their reward; the oldest of more are final at once. About 0.4 kB each
    drift_tolerance   rewards that come to within this share of what was predicted are no drift of the reward model
    drift_run_length  requests to a false alarm of drift, on average at the soonest
    drift_window_s    time over which the ratio of what came to what was predicted is shown
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = 1800.0
    early_s: Annotated[float, Field(ge=0, le=3600)] = 30.0
    most_pending: Annotated[int, Field(ge=100, le=10_000_000)] = 200_000
    drift_tolerance: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    drift_run_length: Annotated[float, Field(ge=1e5, allow_inf_nan=False)] = 1e9
    drift_window_s: Annotated[float, Field(ge=60, le=7 * 86_400)] = 6 * 3600.0


class LogSettings(BaseModel):
    """What is kept of decisions, to train and to judge reward models by. Nothing set: nothing is logged.

    folder       where it lies, on the machine that hears of outcomes; when left out there is no log
    max_bytes    all files together take no more; the oldest are deleted
    rotate_rows  rows after which a file is written; memory holds twice as many, and more are dropped and counted
    rotate_s     seconds after which a file is written, be it ever so short: a crash loses what is younger
    retry_s      a disk that is full, or may not be written, is tried again after so many seconds
    contexts     log what the reward model sees of each request; without it, no reward model can be trained from the log
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folder: Path | None = None
    max_bytes: Annotated[int, Field(ge=1 << 20)] = 10 << 30
    rotate_rows: Annotated[int, Field(ge=100, le=1_000_000)] = 50_000
    rotate_s: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    retry_s: Annotated[float, Field(ge=1, le=86_400)] = 60.0
    contexts: bool = True

    @field_validator("folder")
    @classmethod
    def _absolute(cls, folder: Path | None) -> Path | None:
        return None if folder is None else folder.expanduser().absolute()
