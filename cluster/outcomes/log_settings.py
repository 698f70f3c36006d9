"""What the operator says about the log of decisions and outcomes."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator


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
