"""Which kinds of limit this deployment could hold at all."""

from dataclasses import dataclass

from allocator.constraints import Resource
from allocator.limits import RESOURCES, Kind

NO_ALLOCATOR = (
    "there is no allocator to hold it, so requests run the static chain; give the cascade a reward model "
    "(`greenflow train-reward`) and leave allocator.enabled out"
)
NO_JOULES = "joules are not accounted for: setting energy.enabled is false"
NO_GRAMS = (
    "nobody tells the grid's carbon intensity; set GREENFLOW_CARBON_G_PER_KWH, or another GREENFLOW_CARBON_PROVIDER"
)


@dataclass(frozen=True, slots=True)
class Holdable:
    """What the deployment has.

    allocates  a policy chooses chains
    joules     meters run and are accounted for
    grams      an intensity is known
    """

    allocates: bool = True
    joules: bool = True
    grams: bool = True

    def refusal(self, kind: Kind) -> str | None:
        """Why a limit of the kind cannot be held here; None where it can."""
        resource = RESOURCES[kind]
        if not self.allocates:
            return NO_ALLOCATOR
        if resource in (Resource.JOULES, Resource.GRAMS) and not self.joules:
            return NO_JOULES
        return NO_GRAMS if resource is Resource.GRAMS and not self.grams else None
