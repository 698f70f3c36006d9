"""How power is metered, as operators state it."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from cluster.power.host import PROC
from cluster.power.memory import MEMORY_W_PER_GB
from cluster.power.rapl import POWERCAP

SensorName = Literal["nvml", "rapl", "estimate", "replay"]


def _split(value: object) -> object:
    """Words of one text, as variables of the environment and options of commands give them."""
    if not isinstance(value, str) or value in ("auto", "none"):
        return value
    return tuple(word.strip() for word in value.split(","))


class PowerSettings(BaseModel):
    """What reads power on every node.

    sensors      auto: what there is, in the order NVML, RAPL, then an estimate, which stands in for what reads the
                 processors; none: nothing; or names, of which each must work
    rapl_root    the powercap tree; in containers, where the host's is mounted
    proc_root    what tells how busy the host is and what memory it has; in containers whose own /proc tells of the
                 container alone, where the host's is mounted
    idle_w       watts that a host without meters draws when idle; a published average, marked as assumed, when left out
    full_w       the same with all its processors busy; give both or neither
    memory_w_per_gb  watts for each GB of memory of a host whose processors do not meter it
    replay_file  a recording of `cluster.power.recording.record`, for the sensor replay
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sensors: Annotated[Literal["auto", "none"] | tuple[SensorName, ...], BeforeValidator(_split)] = "auto"
    rapl_root: Path = POWERCAP
    proc_root: Path = PROC
    idle_w: Annotated[float | None, Field(ge=0, allow_inf_nan=False)] = None
    full_w: Annotated[float | None, Field(gt=0, allow_inf_nan=False)] = None
    memory_w_per_gb: Annotated[float, Field(gt=0, allow_inf_nan=False)] = MEMORY_W_PER_GB
    replay_file: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.idle_w is None) != (self.full_w is None):
            raise ValueError("give both idle_w and full_w, or neither")
        if self.idle_w is not None and self.full_w is not None and self.idle_w > self.full_w:
            raise ValueError("idle_w must not be above full_w")
        if isinstance(self.sensors, tuple) and not self.sensors:
            raise ValueError("sensors: name one, or say none")
        if "replay" in self.sensors and self.sensors != ("replay",):
            raise ValueError("sensors: a replay stands alone: it would mix with what is read")
        if "replay" in self.sensors and self.replay_file is None:
            raise ValueError("sensors: replay needs replay_file")
        return self
