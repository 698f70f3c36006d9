"""What stands in the way of reading RAPL, and the remedy, in words for people."""

from pathlib import Path

from cluster.power.base import Refusal
from models.errors import SensorAbsent

_MOUNT = (
    "show the host's folder to the container at another path, read-only, and name it: docker run "
    "-v /sys/devices/virtual/powercap:/host/powercap:ro -e GREENFLOW_POWER_RAPL_ROOT=/host/powercap "
    "(Kubernetes: a hostPath volume of the same paths with readOnly: true)"
)
_MODULE = "on a physical x86 machine load the driver, which serves AMD too: sudo modprobe intel_rapl_msr"
_STATE_WATTS = (
    "meter on the host, or state what this machine draws idle and under full load: "
    "GREENFLOW_POWER_IDLE_W and GREENFLOW_POWER_FULL_W"
)


def udev_remedy(group: str) -> str:
    """How root lets a group read the counters, now and after every boot."""
    rule = (
        'SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", ACTION=="add|change", '
        f'RUN+="/bin/chgrp {group} /sys%p/energy_uj", RUN+="/bin/chmod 0440 /sys%p/energy_uj"'
    )
    return (
        f"as root write into /etc/udev/rules.d/70-greenflow.rules the line {rule} and run: udevadm control --reload && "
        "udevadm trigger --subsystem-match=powercap --settle; or, without changing files, start Ray's systemd "
        "unit with AmbientCapabilities=CAP_DAC_READ_SEARCH"
    )


def no_tree(root: Path, virtual: bool) -> SensorAbsent:
    """There is no powercap tree at all."""
    if virtual:
        return SensorAbsent("rapl", f"{root} does not exist: a virtual machine has no power counters", _STATE_WATTS)
    problem = f"{root} does not exist: the kernel has no power capping, or a container hides it"
    return SensorAbsent("rapl", problem, f"{_MODULE}; in a container {_MOUNT}")


def no_zones(root: Path, virtual: bool) -> SensorAbsent:
    """The tree is there, and no package in it."""
    if virtual:
        problem = f"{root} holds no RAPL package: the hypervisor keeps the counters from this virtual machine"
        return SensorAbsent("rapl", problem, _STATE_WATTS)
    return SensorAbsent("rapl", f"{root} holds no RAPL package", f"{_MODULE}; in a container {_MOUNT}")


def masked(root: Path, links: int) -> Refusal:
    """Links to zones are there, but what they lead to is hidden."""
    problem = f"{root} lists {links} RAPL zones that lead nowhere: the container's runtime masks them"
    return Refusal("rapl", "", problem, _MOUNT)


def forbidden(device: str, file: Path, as_root: bool, group: str) -> Refusal:
    """A counter that this process may not read."""
    if as_root:
        problem = f"{file}: reading is denied even to root: a security profile or a user namespace forbids it"
        return Refusal("rapl", device, problem, f"in a container {_MOUNT}")
    problem = f"{file}: no permission to read: the kernel gives power counters to root only (since Linux 5.10)"
    return Refusal("rapl", device, problem, udev_remedy(group))


def vanished(device: str, file: Path) -> Refusal:
    """A zone that was read and is gone."""
    problem = f"{file}: gone: its processors went offline, or the driver was unloaded"
    return Refusal("rapl", device, problem, "nothing to do: it is read again, and billed from its counter, once back")


def refused(device: str, file: Path, error: Exception) -> Refusal:
    """Whatever else keeps a zone from being read."""
    return Refusal(
        "rapl", device, f"{file}: {getattr(error, 'strerror', None) or error}", "see the kernel's log: dmesg"
    )


def duplicate(what: str, name: str, of: str) -> Refusal:
    """Another driver's view of a package that is read already."""
    return Refusal("rapl", what, f"shows the counter of {name} a second time; {of} is read", "")


def mirror(device: str, of: str) -> Refusal:
    """A die whose counter is that of another die."""
    return Refusal("rapl", device, f"mirrors {of}: it shows the same counter, which is billed once", "")
