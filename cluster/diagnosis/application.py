"""Whether what is configured for the application as a whole works: cascade, carbon, ledger, port."""

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from allocator.joules import Quality
from cluster.carbon.base import CarbonProvider, Intensity
from cluster.carbon.settings import CarbonSettings
from cluster.diagnosis.findings import Finding, State
from cluster.ledger.connect import for_reading
from models.errors import GreenFlowError
from models.loading import Cascade

LEAST_FREE_BYTES = 64 << 20
_NAME_PROVIDER = "set GREENFLOW_CARBON_G_PER_KWH, or another GREENFLOW_CARBON_PROVIDER"
_STATE_PUE = "set GREENFLOW_CARBON_PUE to what the building's operator measures"


def cascade_finding(check: Callable[[], Cascade]) -> tuple[Finding, Cascade | None]:
    """The cascade as `check` finds it, and the cascade; None where it is broken."""
    try:
        cascade = check()
    except GreenFlowError as error:
        return Finding("cascade", State.WRONG, str(error)), None
    spec = cascade.spec
    variants = sum(len(stage.variants) for stage in spec.stages)
    says = (
        f"{spec.name}: {len(spec.stages)} stages, {variants} variants, {len(cascade.items):,} items; all files checked"
    )
    return Finding("cascade", State.OK, says, "", {"folder": str(cascade.folder), "name": spec.name}), cascade


def carbon_findings(
    settings: CarbonSettings, opened: Callable[[CarbonSettings], CarbonProvider], unix_s: float
) -> tuple[Finding, ...]:
    """What the grid emits now and who says so, after one look; and the PUE."""
    try:
        provider = opened(settings)
    except GreenFlowError as error:
        return (Finding("carbon", State.WRONG, str(error)),)
    asyncio.run(provider.refresh())
    found = provider.now(unix_s)
    facts = {"provider": settings.provider, "source": provider.source, "g_per_kwh": found and found.g_per_kwh}
    if settings.provider == "unknown":
        says = "nobody says what the grid emits: joules are counted, grams are not"
        return (
            Finding(
                "carbon",
                State.NOTE,
                says,
                _NAME_PROVIDER,
                facts,
            ),
        )
    if provider.problem is not None:
        return (Finding("carbon", State.WRONG, provider.problem, "", facts),)
    if found is None:
        return (Finding("carbon", State.WRONG, f"{provider.source} has no figure for now", "", facts),)
    return (_intensity(found, facts), _pue(settings))


def _intensity(found: Intensity, facts: Mapping[str, object]) -> Finding:
    where = f" for {found.zone}" if found.zone else ""
    says = f"{found.g_per_kwh:g} g/kWh{where} ({found.kind.value}, {found.quality.value}), by {found.source}"
    if found.stale:
        problem = f"{says}; the figure has been out of date for {found.age_s / 3600:.1f} h"
        return Finding("carbon", State.NOTE, problem, "bring the series up to date", facts)
    return Finding("carbon", State.OK, says, "", facts)


def _pue(settings: CarbonSettings) -> Finding:
    building = settings.building
    facts = {"pue": building.ratio, "quality": building.quality.value}
    if building.quality is Quality.ASSUMED:
        says = f"{building.ratio:g} is assumed: nothing of the building is added to the machines' joules"
        return Finding("pue", State.NOTE, says, _STATE_PUE, facts)
    return Finding("pue", State.OK, f"{building.ratio:g}", "", facts)


def ledger_finding(file: Path) -> Finding:
    """Whether the controller could write its ledger here. Changes nothing, and takes nothing from a writer at work."""
    facts = {"file": str(file)}
    try:
        if file.exists():
            for_reading(file).close()
    except GreenFlowError as error:
        return Finding("ledger", State.WRONG, str(error), "", facts)
    folder = next(parent for parent in file.parents if parent.exists())
    unwritable = next((path for path in (file, folder) if path.exists() and not os.access(path, os.W_OK)), None)
    if unwritable is not None or not folder.is_dir():
        problem = f"{unwritable or folder} cannot be written to"
        return Finding(
            "ledger", State.WRONG, problem, f"let this user write there, or name another file than {file}", facts
        )
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        says = f"{file}: only {free / 1e6:.0f} MB are free on its disk"
        return Finding("ledger", State.WRONG, says, "make room, or name a file on another disk", facts)
    return Finding(
        "ledger", State.OK, f"{file} ({'is there' if file.exists() else 'begins with the first window'})", "", facts
    )


def port_finding(port: int, refuse: Callable[[], None], serving: str | None) -> Finding:
    """Whether `up` could listen, or does already.

    refuse   raises FixSetup where it could not
    serving  the URL of the instance that has the port, None for none
    """
    facts = {"port": port}
    if serving is not None:
        return Finding("port", State.OK, f"{port}: GreenFlow answers there, at {serving}", "", facts)
    try:
        refuse()
    except GreenFlowError as error:
        return Finding("port", State.WRONG, str(error), "", facts)
    return Finding("port", State.OK, f"{port} is free", "", facts)
