"""How many replicas the variants with deployments of their own have."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class AutoscaleSettings(BaseModel):
    """How Serve's autoscaler follows the load of each variant with a deployment of its own.

    Those of the cheapest chain, or of `allocator.safe_chain` if it is set, never go below one replica: whatever the
    prices and however long nobody asked, a request finds a chain that can run.

    enabled           whether it does; else `cpu_replicas` and `gpu_replicas` say how many there are, and with it how
                      many there are at the start
    min_replicas      least replicas of a variant that nothing uses; zero lets it go cold, and its chains are not
                      available then, until prices would give them requests again and a replica is warm
    max_replicas      most replicas of a variant
    target_ongoing    calls under way in a replica at a time that are thought right; more add replicas
    upscale_delay_s   for how long there must be too many calls before replicas are added
    downscale_delay_s for how long too few before they are taken away
    look_back_s       over how long calls are averaged
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = False
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = 0
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = 4
    target_ongoing: Annotated[float, Field(gt=0, le=1000)] = 2.0
    upscale_delay_s: Annotated[float, Field(ge=0, le=3600)] = 10.0
    downscale_delay_s: Annotated[float, Field(ge=0, le=86_400)] = 120.0
    look_back_s: Annotated[float, Field(ge=1, le=3600)] = 30.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) must not be above max_replicas ({self.max_replicas})")
        return self
