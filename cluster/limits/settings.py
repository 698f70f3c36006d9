"""Limits that hold from the start, as settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from allocator.limits import Kind, Limit
from cluster.limits.holdable import Holdable
from cluster.limits.stated import MOST

Amount = Annotated[float | None, Field(ge=0, le=MOST, allow_inf_nan=False)]


class LimitSettings(BaseModel):
    """Limits that hold from the start; a mix of any. Left out: none. They may be changed while the application runs, by
    PUT /v1/constraints/{name} and `greenflow budget`: such a change outlives a restart, until the setting changes too.

    power_w             watts of all machines together, idle included: the limit named `power`
    energy_kwh_per_day  kWh of all machines from midnight to midnight UTC: `energy`
    carbon_g_per_h      grams of CO2e of each full hour: `carbon-hour`; needs an intensity, see the settings of carbon
    carbon_g_per_day    grams of CO2e from midnight to midnight UTC: `carbon-day`
    compute_busy_s_per_s  seconds a second that variants run and that the work around them takes, all replicas added up:
                        `compute`
    flops_per_s         floating-point operations a second, as counted from the models: `flops`; the same as
                        allocator.flops_per_s
    capacity_share      share of the processors that requests may take before their chains are shortened; 0 for no such
                        limit, and requests then queue
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    power_w: Amount = None
    energy_kwh_per_day: Amount = None
    carbon_g_per_h: Amount = None
    carbon_g_per_day: Amount = None
    compute_busy_s_per_s: Amount = None
    flops_per_s: Amount = None
    capacity_share: Annotated[float, Field(ge=0, le=1)] = 0.8

    def stated(self, flops_per_s: float | None = None) -> tuple[Limit, ...]:
        """The limits, by name.

        flops_per_s  as allocator.flops_per_s says; it is the same limit
        """
        flops = self.flops_per_s if flops_per_s is None else flops_per_s
        given = (
            ("carbon-day", Kind.CARBON, self.carbon_g_per_day, "g/day"),
            ("carbon-hour", Kind.CARBON, self.carbon_g_per_h, "g/h"),
            ("compute", Kind.COMPUTE, self.compute_busy_s_per_s, "busy_s/s"),
            ("energy", Kind.ENERGY, self.energy_kwh_per_day, "kWh/day"),
            ("flops", Kind.FLOPS, flops, "FLOP/s"),
            ("power", Kind.POWER, self.power_w, "W"),
        )
        return tuple(Limit(name, kind, limit, unit) for name, kind, limit, unit in given if limit is not None)


def check_limits(limits: LimitSettings, holdable: Holdable, flops_per_s: float | None) -> LimitSettings:
    """The same limits. Raises ValueError where one could not be held, or is stated twice.

    flops_per_s  as allocator.flops_per_s says
    """
    if limits.flops_per_s is not None and flops_per_s is not None:
        raise ValueError("flops_per_s is the same limit as allocator.flops_per_s: give one of them")
    for limit in limits.stated(flops_per_s):
        if (reason := holdable.refusal(limit.kind)) is not None:
            raise ValueError(f"{limit.kind} cannot be limited: {reason}")
    return limits
