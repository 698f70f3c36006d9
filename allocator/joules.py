"""What a window's joules are told in: work that was done, joules that devices drew, and who they are put down to."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Quality(StrEnum):
    """How a joule or gram is known, best first.

    measured  a meter counted it
    modelled  worked out from something measured, such as CPU time or an energy model that meters have taught
    assumed   worked out from a figure that nobody measured here
    """

    MEASURED = "measured"
    MODELLED = "modelled"
    ASSUMED = "assumed"


ORDER = {quality: at for at, quality in enumerate(Quality)}
"""The best first."""


def worst(qualities: Iterable[Quality]) -> Quality:
    """That of a sum: the worst of its parts. Nothing at all is measured."""
    return max(qualities, key=ORDER.__getitem__, default=Quality.MEASURED)


@dataclass(frozen=True, slots=True)
class Work:
    """What one variant did on one pool of devices in a window.

    pool    what its joules come out of: a host's processors, or one GPU; as `DeviceJoules.pool`
    calls   runs of the variant
    items   (row, item) pairs that these runs scored; what recall searched
    busy_s  seconds that the runs took, those side by side added up: with what they waited for processors
    cpu_s   seconds that they kept processors busy; 0 where nobody has counted them
    """

    stage: str
    variant: str
    pool: str
    calls: int
    items: int
    busy_s: float
    cpu_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DeviceJoules:
    """What one device drew in a window, as billed: nothing of it was billed before, nor will be again.

    device     unique in the whole cluster
    pool       devices of one pool feed the same work: the packages and memory of a host; a GPU is alone in its own
    node       Ray node whose meter read it, and `host` the machine, which several nodes may share
    kind       package, dram, gpu, module or host
    source     rapl, nvml, estimate or replay
    counter_j  the device's own counter at the end, modulo its range; with `epoch`, from where billing goes on
    epoch      joules of two epochs cannot be subtracted: another boot, or driver
    fresh      False when the counter was not updated in the window, so that `energy_j` of zero means "not known yet"
    busy_s     seconds that the host's processors worked meanwhile, all of them added up; None where nobody knows
    """

    device: str
    pool: str
    node: str
    host: str
    kind: str
    source: str
    quality: Quality
    energy_j: float
    window_s: float
    counter_j: float
    epoch: str
    fresh: bool = True
    busy_s: float | None = None


@dataclass(frozen=True, slots=True)
class Share:
    """Joules of one pool that one variant is put down to.

    quality  measured when the pool's joules were; else the worst of them
    """

    stage: str
    variant: str
    pool: str
    calls: int
    items: int
    energy_j: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class PoolAccount:
    """One pool's window: energy_j = sum of its shares + idle_j + unattributed_j, to rounding."""

    pool: str
    energy_j: float
    idle_j: float
    unattributed_j: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class WindowAccount:
    """Where the joules of one window went: what the ledger keeps.

    number          counts windows of this ledger, so that one that is written twice is known
    end_s           Unix time at its end, and `window_s` its length
    requests        that were answered in it
    items           those that recommendations held
    policy_version  under which it was decided, 0 for none
    intensity_g_per_kwh  of the grid while it ran; None while nobody knows it. PUE: what the building draws per joule of
                         its machines; both with how they are known. grams = joules / 3.6e6 * PUE * intensity
    """

    number: int
    end_s: float
    window_s: float
    requests: int
    items: int
    policy_version: int
    devices: tuple[DeviceJoules, ...]
    shares: tuple[Share, ...]
    pools: tuple[PoolAccount, ...]
    intensity_g_per_kwh: float | None
    intensity_quality: Quality
    pue: float
    pue_quality: Quality
