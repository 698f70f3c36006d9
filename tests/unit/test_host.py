"""A replica's GPU is known by the name that its meter has for it."""

import pytest

from cluster.host import gpu_uuid, host_pool


class Nvml:
    """Two GPUs, the second cut into instances."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:
        """As NVML's."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        if index > 1:
            raise self.NVMLError("Not Found")
        return ("GPU-a", "GPU-b")[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:
        return {"MIG-1": "GPU-b"}[handle]

    def nvmlDeviceGetUUID(self, handle: str) -> str:
        return handle


@pytest.mark.parametrize(
    ("ids", "uuid"), [(["1"], "GPU-b"), (["0", "1"], "GPU-a"), (["GPU-a"], "GPU-a"), (["MIG-1"], "GPU-b")]
)
def test_a_gpu_is_found_by_index_or_uuid_and_an_instance_by_what_it_is_a_part_of(ids: list[str], uuid: str) -> None:
    assert gpu_uuid(ids, Nvml()) == uuid


@pytest.mark.parametrize("ids", [[], ["7"], ["none"]])
def test_a_gpu_that_nobody_knows_is_said(ids: list[str]) -> None:
    with pytest.raises(LookupError):
        gpu_uuid(ids, Nvml())


def test_a_host_s_pool_is_the_same_in_every_process() -> None:
    assert host_pool() == host_pool()
    assert host_pool().endswith("/cpu")
