"""Whether intervals hold the truth of simulated experiments, at the end and at all looks."""

from dataclasses import dataclass, fields
from math import hypot, isfinite, nan

from savings_world import Experiment, Look, Truth

from allocator.savings import Interval, Savings, estimate

QUANTITIES = tuple(field.name for field in fields(Truth))


@dataclass
class Watched:
    """One quantity of one run.

    looks    after which something was known; `held` of them whose fixed interval held the truth
    always   whether the sequential intervals of all looks did, and `always_share` those of the share saved
    at_end   whether the last look's fixed interval did: of the difference, and of the share
    happened whether it held what the policy's requests really saved, as against what is expected of such requests;
             of joules alone
    error, standard, fixed, sequential  of the last look: estimate less truth, its standard error, half widths; all over
             the static chain's mean
    model    share of its variance that is the energy model's
    """

    looks: int = 0
    held: int = 0
    always: bool = True
    always_share: bool = True
    at_end: bool = False
    share_at_end: bool = False
    happened: bool | None = None
    error: float = nan
    standard: float = nan
    fixed: float = nan
    sequential: float = nan
    model: float = nan

    @property
    def known(self) -> bool:
        """Whether anything was known at the last look."""
        return isfinite(self.error)


def watched(experiment: Experiment, seed: int, every: int) -> dict[str, Watched]:
    """One run, looked at after every so many windows and after the last one."""
    found = {name: Watched() for name in QUANTITIES}
    for window, look in enumerate(experiment.run(seed), 1):
        if window % every == 0 or window == experiment.windows:
            savings = estimate(look.sums)
            for name, so_far in found.items():
                _see(so_far, name, look, savings)
    return found


def _see(so_far: Watched, name: str, look: Look, savings: Savings) -> None:
    saved, truth, static = (getattr(of, name) for of in (savings, look.truth, look.static))
    so_far.error, so_far.share_at_end = nan, False
    if saved.per_request is None:
        return
    figure = saved.per_request
    so_far.looks += 1
    so_far.at_end = figure.fixed.holds(truth)
    so_far.held += so_far.at_end
    so_far.always &= figure.sequential.holds(truth)
    if saved.relative is not None:
        share = truth / static
        so_far.share_at_end = saved.relative.fixed.holds(share)
        so_far.always_share &= saved.relative.sequential.holds(share)
    if name == "energy_j":
        so_far.happened = saved.total.fixed.holds(look.happened_j)
    so_far.error = (figure.value - truth) / static
    so_far.fixed, so_far.sequential = (_half(of) / static for of in (figure.fixed, figure.sequential))
    so_far.standard = hypot(saved.model_error, saved.sampling_error) / static
    so_far.model = (saved.model_error / static / so_far.standard) ** 2


def _half(interval: Interval) -> float:
    return (interval.high - interval.low) / 2
