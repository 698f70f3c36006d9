"""Tells dies that mirror one counter from dies with a counter of their own.

First-generation EPYC and Threadripper show a package zone per die, and every die shows the counter of the whole socket.
"""

from collections.abc import Mapping, Sequence

from cluster.power.rapl_zones import Zone

# By how much one die's copy of a counter may be older than another's: the hardware renews them about every millisecond.
LAG_S = 0.005

Sweep = Mapping[str, float]
"""Device -> joules, of the zones that could be read, read in the order of the zones."""


class Mirrors:
    """Which zones repeat another's counter. Equal values make a suspect, left out for as long as increases are equal.

    A zone that once differed has its own counter for good. It joins then: nothing of it is billed twice, and what it
    counted until then, between two reads, is all that is missed. Where one of two cannot be read, what was known holds.
    """

    def __init__(self) -> None:
        self._of: dict[str, str] = {}
        self._own: set[str] = set()

    def update(self, zones: Sequence[Zone], first: Sweep, again: Sweep) -> Mapping[str, str]:
        """Zones to leave out -> the zone that they mirror, after two sweeps right after each other."""
        read = first.keys() & again.keys()
        for at, zone in enumerate(zones):
            if zone.device in self._own or zone.device not in read:
                continue
            rivals = [other for other in zones[:at] if _one_socket(other, zone) and other.device not in self._of]
            original = next((o for o in rivals if o.device in read and _same(o, zone, first, again)), None)
            if original is not None:
                self._of[zone.device] = original.device
            elif all(other.device in read for other in rivals):
                self._of.pop(zone.device, None)
                self._own.add(zone.device)
        return dict(self._of)


def suspicious(zones: Sequence[Zone]) -> bool:
    """Whether any two zones are of one socket and kind, so that mirrors are possible at all."""
    return any(_one_socket(one, other) for at, one in enumerate(zones) for other in zones[:at])


def _one_socket(one: Zone, other: Zone) -> bool:
    return (one.package, one.kind, one.range_j) == (other.package, other.kind, other.range_j)


def _same(one: Zone, other: Zone, first: Sweep, again: Sweep) -> bool:
    """Whether `other`, read between the two readings of `one`, shows what `one` showed then, but for the lag."""
    lag_j = LAG_S * one.most_w
    start_j = first[one.device] - lag_j
    return (first[other.device] - start_j) % one.range_j <= (again[one.device] - start_j) % one.range_j + lag_j
