"""A scenario: one file that says what a simulated day is like, and what it shows."""

import difflib
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from allocator.limits import HOUR_S
from cluster.simulation.parts import Failure, Grid, Group, LimitPart, Name, Part, Share, Silence, Traffic
from models.errors import FixFile

SHIPPED = "cluster.simulation", "scenarios"
MOST_WINDOWS = 100_000
CLOSE = 0.5


class Scenario(Part):
    """A day, as its file states it.

    name, shows  for people; `about` says more
    start        midnight UTC of that date
    hours        how long it is
    window_s     how often prices change; longer than the second of production, so that a day is soon over
    seed         of all chance
    known_days   days like this one that the controller has seen before: its forecasts of load and grid know them. None
                 of them had flash crowds or failures
    cascade      folder; left out, the demo
    table        reward table of `greenflow replay`: what its users truly click is then realised. Left out: clicks come
                 by chance as the reward model predicts
    users        of whom requests come, at most
    rows_per_run requests that share a run of a variant
    capacity_share  as limits.capacity_share of the settings
    holdback     share of the requests that run the static chain, so that savings can be told
    """

    name: Name
    shows: Annotated[str, Field(min_length=1, max_length=200)]
    about: str = ""
    start: date = date(2026, 3, 2)
    hours: Annotated[float, Field(gt=0, le=24 * 31)] = 24.0
    window_s: Annotated[float, Field(ge=1, le=900)] = 60.0
    seed: Annotated[int, Field(ge=0)] = 0
    known_days: Annotated[int, Field(ge=0, le=60)] = 14
    cascade: Path | None = None
    table: Path | None = None
    users: Annotated[int, Field(ge=1, le=100_000)] = 2000
    rows_per_run: Annotated[float, Field(ge=1, le=1024)] = 8.0
    traffic: Traffic
    nodes: Annotated[dict[Name, Group], Field(min_length=1)]
    sensors_lost: tuple[Silence, ...] = ()
    failures: tuple[Failure, ...] = ()
    grid: Grid = Grid()
    limits: tuple[LimitPart, ...] = ()
    capacity_share: Share = 0.8
    holdback: Share = 0.0

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.windows > MOST_WINDOWS:
            raise ValueError(f"hours: {self.windows:,} windows are too many; make window_s longer")
        regions = list(self.traffic.regions)
        for name, group in self.nodes.items():
            _known(group.region, regions, f"nodes.{name}.region")
        for n, crowd in enumerate(self.traffic.crowds):
            _known(crowd.region, [*regions, None], f"traffic.crowds.{n}.region")
        for field in ("sensors_lost", "failures"):
            for n, one in enumerate(getattr(self, field)):
                _known(one.group, list(self.nodes), f"{field}.{n}.group")
        names = [limit.chosen_name for limit in self.limits]
        if len(set(names)) < len(names):
            raise ValueError(f"limits: two have one name, of {', '.join(names)}; give them a name each")
        return self

    @property
    def start_s(self) -> float:
        """Unix time of the first window's begin."""
        return datetime.combine(self.start, time(), UTC).timestamp()

    @property
    def windows(self) -> int:
        """How many."""
        return max(1, round(self.hours * HOUR_S / self.window_s))


def _known(name: str | None, names: list[str | None] | list[str], field: str) -> None:
    if name not in names:
        told = [one for one in names if one is not None]
        close = difflib.get_close_matches(str(name), told, n=1, cutoff=CLOSE)
        hint = f"did you mean {close[0]!r}?" if close else f"it must be one of {', '.join(told)}"
        raise ValueError(f"{field}: there is no {name!r}; {hint}")


def shipped() -> Iterator[Path]:
    """Files of the scenarios that come with the package, by name."""
    folder = Path(str(files(SHIPPED[0]) / SHIPPED[1]))
    yield from sorted(folder.glob("*.yaml"))


def find(name: str) -> Path:
    """The file of a scenario that ships, by its name, or else a path. Raises FixFile where there is neither."""
    known = {path.stem: path for path in shipped()}
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix or path.exists():
        return path
    close = difflib.get_close_matches(name, known, n=1, cutoff=CLOSE)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(known)}"
    raise FixFile(name, "", f"is no scenario that ships, and no file; {hint}")


def read_scenario(path: Path) -> Scenario:
    """Read a scenario's file. Raises FixFile naming file and field."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FixFile(path, "", f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FixFile(path, "", f"not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return _beside(path, Scenario.model_validate(document))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise FixFile(path, field, first["msg"].removeprefix("Value error, ")) from None


def _beside(path: Path, scenario: Scenario) -> Scenario:
    """The scenario with the paths that it names taken from its own folder."""
    near: dict[str, object] = {}
    for name in ("cascade", "table"):
        if (named := getattr(scenario, name)) is not None:
            near[name] = path.parent / named
    if scenario.grid.file is not None:
        near["grid"] = scenario.grid.model_copy(update={"file": path.parent / scenario.grid.file})
    return scenario.model_copy(update=near)
