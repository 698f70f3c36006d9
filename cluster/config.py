"""The settings of the served application, and the only reader of the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

import models
from models.errors import FixSetup

DEMO = Path(models.__file__).parent / "zoo" / "demo"
PREFIX = "GREENFLOW_"


class BatchSettings(BaseModel):
    """How the ingress gathers concurrent requests.

    max_rows   most requests in one micro-batch
    wait_ms    longest that a request waits for company while the stages are free
    in_flight  micro-batches under way at a time in one ingress replica, so that its stages work on different ones at
               once; when left out, one more than there are stages with a deployment of their own
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_rows: Annotated[int, Field(ge=1, le=1024)] = 64
    wait_ms: Annotated[float, Field(ge=0, le=1000)] = 2.0
    in_flight: Annotated[int | None, Field(ge=1, le=64)] = None


class Settings(BaseModel):
    """Everything that `cluster.app.build` needs to know. Fields of `args` in a Serve config, options of `up`.

    cascade           folder of the cascade; must lie at this path on every node
    placement         where variants run: as the cascade's file says, or all in one way
    cpu_replicas      replicas of each CPU variant that has its own deployment
    gpu_replicas      replicas of each CUDA variant
    replica_cpus      logical CPUs that Ray reserves for each replica; a share, so that a whole cascade fits a laptop
    ingress_replicas  replicas of the ingress, each with its own copy of the inline variants; when left out, as many
                      as cores (4 at most) if the static chain runs inline, for then they do all the work, else 1
    stage_threads     model runs at a time inside one replica of a variant
    inline_threads    model runs at a time inside one ingress replica
    max_ongoing_requests  requests that an ingress replica holds at a time; Serve refuses more
    max_body_bytes    a request's body may be this long
    stage_timeout_s   a stage call that takes longer counts as lost
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cascade: Path = DEMO
    placement: Literal["file", "inline", "own"] = "file"
    cpu_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    gpu_replicas: Annotated[int, Field(ge=1, le=1000)] = 1
    replica_cpus: Annotated[float, Field(ge=0, le=256)] = 0.1
    ingress_replicas: Annotated[int | None, Field(ge=1, le=1000)] = None
    stage_threads: Annotated[int, Field(ge=1, le=256)] = 1
    inline_threads: Annotated[int, Field(ge=1, le=256)] = 2
    batch: BatchSettings = BatchSettings()
    max_ongoing_requests: Annotated[int, Field(ge=1, le=100_000)] = 1024
    max_body_bytes: Annotated[int, Field(ge=256, le=16 << 20)] = 64 << 10
    stage_timeout_s: Annotated[float, Field(gt=0, le=600)] = 30.0

    @field_validator("cascade")
    @classmethod
    def _absolute(cls, folder: Path) -> Path:
        return folder.expanduser().absolute()

    @classmethod
    def from_environment(cls, overrides: Mapping[str, object], environment: Mapping[str, str] = os.environ) -> Self:
        """Settings from `GREENFLOW_<FIELD>` variables, overridden by those `overrides` that are not None.

        A field of `batch` is `GREENFLOW_BATCH_<FIELD>`. Raises FixSetup naming the variable or option.
        """
        values: dict[str, object] = {}
        for name in cls.model_fields:
            if name != "batch" and (text := environment.get(PREFIX + name.upper())) is not None:
                values[name] = text
        batch: dict[str, object] = {}
        for name in BatchSettings.model_fields:
            if (text := environment.get(f"{PREFIX}BATCH_{name.upper()}")) is not None:
                batch[name] = text
        values.update({k: v for k, v in overrides.items() if v is not None and k not in BatchSettings.model_fields})
        batch.update({k: v for k, v in overrides.items() if v is not None and k in BatchSettings.model_fields})
        try:
            return cls.model_validate({**values, "batch": batch} if batch else values)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            option = PREFIX + field.upper().replace(".", "_")
            raise FixSetup(f"setting {field} (option or variable {option}): {first['msg']}") from None


def ray_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """The Ray cluster to join, from RAY_ADDRESS; None to start one here."""
    return environment.get("RAY_ADDRESS") or None
