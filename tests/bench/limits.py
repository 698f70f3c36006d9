"""Whether a power cap holds: the served demo on a stand-in for RAPL while cap and traffic change, and things break.

The stand-in's counters advance with the CPU time that this machine really spends, load generator included, so watts
follow the chains. First the watts without any cap are looked at, and those with the cheapest chains alone: what any cap
can reach lies between. Then come, as asked for: caps and rates that follow each other, one cap for long, meters that
are lost, parts of the server that are killed. All watts that are shown are the true ones.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click
from limits_outage import Outage, blind, killed
from limits_phases import Phase, found, look, played, transitions
from limits_report import Results, Run, look_line, outage_line, phase_line, steady_line
from limits_stand import PLACEMENTS, Driven, driven
from limits_steady import steady
from machine import describe
from rich.console import Console
from servers import ROOT


@dataclass(frozen=True)
class Plan:
    """What happens on each server. Seconds of each thing; 0 leaves it out.

    seconds    of a phase, and `look_s` of a look at what caps can do
    short      the phases that must be shown only
    cap_share  of what chains can be made to spend: the cap under which things last long and break
    """

    rate: float
    seconds: float
    look_s: float
    warm_s: float
    settle_s: float
    phases: bool
    short: bool
    long_s: float
    blind_s: float
    kills: tuple[str, ...]
    cap_share: float

    @property
    def about_s(self) -> float:
        """How long a server takes, roughly."""
        phases = 0.0 if not self.phases else self.seconds * (4 if self.short else 7)
        looks = self.warm_s + self.look_s * (5 if self.phases else 3)
        under_cap = sum(s + self.settle_s for s in (self.long_s, self.blind_s) if s) + 40 * len(self.kills)
        return 45 + looks + phases + under_cap


class Course:
    """One server's part of the plan. What happened is told and written at once."""

    def __init__(self, plan: Plan, stand: Driven, run: Run, done: Callable[[str], None]) -> None:
        self.plan, self.stand, self.run, self._done = plan, stand, run, done

    def go(self) -> None:
        """All of it, one after the other."""
        plan = self.plan
        played(self.stand, Phase("replicas warm up", plan.warm_s, 1e6, plan.rate))
        self._look(third=True)
        if plan.phases:
            self._phases()
        cap_w = self.run.looks[0].between(plan.cap_share)
        if plan.long_s:
            self._settle(cap_w)
            self.run.steady.append(steady(self.stand, self.run.looks[0], cap_w, plan.long_s))
            self._done(steady_line(self.run.steady[-1]))
        if plan.blind_s:
            self._outage(cap_w, lambda: blind(self.stand, cap_w, plan.blind_s))
        for part in plan.kills:
            self._outage(cap_w, lambda part=part: killed(self.stand, cap_w, part))  # type: ignore[misc]

    def _look(self, third: bool = False) -> None:
        self.run.looks.append(look(self.stand, self.plan.rate, self.plan.look_s, third))
        self._done(look_line(self.run.looks[-1]))

    def _phases(self) -> None:
        for phase in transitions(self.run.looks[0], self.plan.seconds, self.plan.short):
            self.run.phases.append(played(self.stand, phase))
            self._done(phase_line(found(self.run.phases[-1], self.run.looks)))
        self._look()

    def _settle(self, cap_w: float) -> None:
        played(self.stand, Phase("settle", self.plan.settle_s, cap_w, self.plan.rate))

    def _outage(self, cap_w: float, happen: Callable[[], Outage]) -> None:
        self._settle(cap_w)
        self.run.outages.append(happen())
        self._done(outage_line(self.run.outages[-1]))


def measured(plan: Plan, placements: tuple[str, ...], allocator: str, results: Results, console: Console) -> None:
    """Fill the results, server after server."""
    began_s = time.monotonic()
    for placement in placements:
        run = Run(placement, plan.rate)
        results.runs.append(run)

        def done(line: str, placement: str = placement) -> None:
            results.save()
            console.print(f"{time.monotonic() - began_s:5.0f} s  {placement}: {line}", highlight=False, soft_wrap=True)

        try:
            with driven(placement, plan.rate, {"GREENFLOW_ALLOCATOR_PLACEMENT": allocator}) as stand:
                done("serves")
                Course(plan, stand, run, done).go()
        except (RuntimeError, OSError) as error:  # what it has shown so far stands, and others have their turn
            run.problem = f"{type(error).__name__}: {error}"
            done(f"ended early: {run.problem}")


def _placements(_: click.Context, __: click.Parameter, text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if unknown := set(names) - set(PLACEMENTS):
        raise click.BadParameter(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PLACEMENTS)}")
    return names


@click.command(context_settings={"show_default": True})
@click.option("--rate", type=click.FloatRange(1), default=210.0, help="Requests a second; without a cap, too, the"
              " machine must be able to serve them.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(22), default=60.0, help="Length of a phase.")
@click.option("--look", "look_s", type=click.FloatRange(3), default=30.0, help="Length of a look at what caps can do.")
@click.option("--warm", "warm_s", type=click.FloatRange(1), default=20.0, help="Traffic before anything is looked at.")
@click.option(
    "--settle", "settle_s", type=click.FloatRange(1), default=15.0, help="Under the cap before --long .. begin."
)
@click.option("--placement", "placements", callback=_placements, default="file", help="Of inline, own and file; several"
              " by commas are compared, each with the short list of phases.")  # fmt: skip
@click.option("--allocator", type=click.Choice(["inline", "own"]), default="inline", help="Where chains are chosen.")
@click.option("--phases/--no-phases", default=True, help="Caps and rates that follow each other.")
@click.option("--short", is_flag=True, help="Without the caps that are out of reach.")
@click.option("--long", "long_s", type=click.FloatRange(0), default=0.0, help="One cap for so long; 1200 says enough.")
@click.option("--blind", "blind_s", type=click.FloatRange(0), default=0.0, help="All meters are lost for so long.")
@click.option("--faults", is_flag=True, help="Kill controller, meter and, where it is on its own, allocator.")
@click.option("--cap-share", type=click.FloatRange(0, 1), default=0.5, help="The cap of --long, --blind and --faults:"
              " between the cheapest chains (0) and no cap (1).")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False), help="Write all figures here,"
              " after each thing that happens.")  # fmt: skip
def main(
    placements: tuple[str, ...], allocator: str, phases: bool, short: bool, faults: bool, json_file: Path | None,
    **figures: float,
) -> None:  # fmt: skip
    """Serve the demo under load on a stand-in for RAPL, change its cap and its traffic, and look at the true watts.

    Keep the machine quiet: all that works on it draws power. Ctrl-C ends the run and tells what was found so far. The
    exit status is 1 when a request failed or a server ended early, not when something was missed: no time is a test.

    \b
    Examples:
      python tests/bench/limits.py --json out/limits.json
      python tests/bench/limits.py --placement inline,own,file --seconds 30
      python tests/bench/limits.py --no-phases --allocator own --long 1200 --blind 600 --faults
    """
    kills = ("controller", "NodeMeter", *(("allocator",) if allocator == "own" else ()))
    several = len(placements) > 1
    plan = Plan(phases=phases, short=short or several, kills=kills if faults else (), **figures)
    console, results = Console(), Results(describe(ROOT), json_file)
    console.print(f"about {plan.about_s * len(placements) / 60:.0f} minutes")
    try:
        measured(plan, placements, allocator, results, console)
    except KeyboardInterrupt:
        console.print("interrupted: what follows is what was found so far")
    results.show(Console(width=None if sys.stdout.isatty() else 170))
    results.save()
    sys.exit(1 if results.failed or any(run.problem for run in results.runs) else 0)


if __name__ == "__main__":
    main()
