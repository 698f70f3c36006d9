"""From settings to a source of carbon intensity: the only place that chooses one."""

import random
from collections.abc import Callable
from pathlib import Path

from cluster.carbon.api import GridApi
from cluster.carbon.base import CarbonProvider, Sleep
from cluster.carbon.countries import yearly_mean
from cluster.carbon.electricity_maps import BASE as ELECTRICITY_MAPS
from cluster.carbon.electricity_maps import ElectricityMaps
from cluster.carbon.file import FileCarbon
from cluster.carbon.fixed import FixedCarbon, UnknownCarbon
from cluster.carbon.http import HttpCarbon, Pace
from cluster.carbon.remembered import RememberedCarbon
from cluster.carbon.settings import CarbonSettings
from cluster.carbon.transport import Transport
from cluster.carbon.uk import BASE as UK
from cluster.carbon.uk import CarbonIntensityUk
from models.errors import FixFile, FixSetup


def open_carbon(
    settings: CarbonSettings, transport: Transport, clock: Callable[[], float], sleep: Sleep, rng: random.Random
) -> CarbonProvider:
    """The source that the settings name. `clock` is Unix time.

    Opens no connection. Raises FixFile for a bad series or token file, FixSetup for a country that is not in the table.
    """
    match settings.provider:
        case "fixed":
            assert settings.g_per_kwh is not None
            return FixedCarbon(settings.g_per_kwh, settings.kind, settings.zone)
        case "country":
            mean = yearly_mean(settings.zone)
            return FixedCarbon(mean.g_per_kwh, zone=mean.codes[0], source=mean.source)
        case "file":
            assert settings.file is not None
            return FileCarbon(settings.file, settings.kind, settings.zone, settings.stale_s)
        case "uk" | "electricity-maps":
            return HttpCarbon(_api(settings), transport, _pace(settings), clock, sleep, rng)
    return UnknownCarbon()


def open_remembered(
    settings: CarbonSettings, transport: Transport, clock: Callable[[], float], sleep: Sleep, rng: random.Random
) -> RememberedCarbon:
    """As `open_carbon`, with a memory of the last figure for the time in which nobody answers."""
    of = f"{settings.provider} {settings.zone} {settings.kind} {settings.file or settings.url or ''}"
    return RememberedCarbon(open_carbon(settings, transport, clock, sleep, rng), of, settings.stale_s)


def _api(settings: CarbonSettings) -> GridApi:
    if settings.provider == "uk":
        return CarbonIntensityUk(settings.zone or "GB", settings.url or UK)
    return ElectricityMaps(settings.zone, _token(settings), settings.url or ELECTRICITY_MAPS)


def _pace(settings: CarbonSettings) -> Pace:
    return Pace(settings.refresh_s, settings.timeout_s, stale_s=settings.stale_s, forecast=settings.forecast)


def _token(settings: CarbonSettings) -> str:
    """The token, fit for a header of HTTP. No message quotes it."""
    if settings.token is not None:
        token = settings.token.get_secret_value().strip()
        if not _is_token(token):
            raise FixSetup("carbon.token (GREENFLOW_CARBON_TOKEN) must be the token alone")
        return token
    assert settings.token_file is not None
    token = _read(settings.token_file)
    if not _is_token(token):
        raise FixFile(settings.token_file, "carbon.token_file", "must hold the token alone, in one line")
    return token


def _is_token(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text and text != ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError as error:
        raise FixFile(path, "carbon.token_file", f"cannot be read: {error.strerror}") from None
