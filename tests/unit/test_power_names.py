"""A device has one name in the whole cluster, whichever node tells of it, and keeps it."""

from metered_world import Device, Sensor, World

from cluster.power.meter import HostId, MeterReport
from cluster.power.names import named, names_of, pool_of, readings_of


def report(world: World, node: str = "node") -> MeterReport:
    meter = world.meter("session", node, [Sensor(world)])
    meter.poll()
    return meter.report()


def test_a_host_goes_by_its_name() -> None:
    assert named({}, [HostId("boot-1", "web")], ()) == {"boot-1": "web"}


def test_a_host_keeps_its_name_over_a_reboot() -> None:
    assert named({"boot-1": "web"}, [HostId("boot-2", "web")], ()) == {"boot-2": "web"}


def test_of_two_hosts_with_one_name_the_later_one_is_told_apart() -> None:
    known = named({"11111111-aaaa": "web"}, [HostId("22222222-bbbb", "web")], {"11111111-aaaa"})
    assert known == {"11111111-aaaa": "web", "22222222-bbbb": "web-22222222"}
    both = [HostId("11111111-aaaa", "web"), HostId("22222222-bbbb", "web")]
    assert named({}, both, ()) == known
    assert named(known, both[::-1], ()) == known


def test_containers_of_one_host_do_not_take_its_name_from_each_other() -> None:
    pods = [HostId("boot-1", "pod-a"), HostId("boot-1", "pod-b")]
    known = named({}, pods, ())
    assert known == {"boot-1": "pod-a"}
    assert named(known, pods[1:], ()) == known
    assert named(known, pods[::-1], ()) == known


def test_a_gpu_goes_by_its_uuid_and_all_else_by_its_host() -> None:
    gpu = Device("GPU-1", "GPU-1", "gpu")
    module = Device("module-0", "module-0", "module")
    readings = readings_of([report(World([Device(), gpu, module]))], {"boot-1": "web"})
    assert {device: reading.pool for device, (reading,) in readings.items()} == {
        "web/package-0": "web/cpu",
        "GPU-1": "GPU-1",
        "web/module-0": "web/module-0",
    }


def test_readings_of_one_device_by_several_nodes_stand_together() -> None:
    world = World()
    readings = readings_of([report(world, "node-1"), report(world, "node-2")], {"boot-1": "web"})
    assert [reading.node for reading in readings["web/package-0"]] == ["node-1", "node-2"]


def test_what_a_ledger_remembers_tells_hosts_and_pools() -> None:
    hosts = {"web/package-0": "boot-1", "GPU-1": "boot-1", "db/dram-0": "boot-2"}
    assert names_of(hosts) == {"boot-1": "web", "boot-2": "db"}
    assert [pool_of(device) for device in ("web/package-0", "GPU-1")] == ["web/cpu", "GPU-1"]
