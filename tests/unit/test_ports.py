"""cluster.launching.ports: real sockets on loopback."""

import os
import random
import re
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from cluster.launching import ports
from models.errors import FixSetup


@pytest.fixture
def listener() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        yield server.getsockname()[1]


def unused() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_a_port_is_free_until_somebody_listens(listener: int) -> None:
    assert not ports.is_free(listener)
    assert ports.is_free(unused())


def test_a_listener_on_all_interfaces_takes_the_port_on_loopback_too() -> None:
    with socket.socket() as server:
        server.bind(("0.0.0.0", 0))
        server.listen(1)
        assert not ports.is_free(server.getsockname()[1])


def test_connections_that_linger_do_not_keep_a_port() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()  # the side that closes first lingers in TIME_WAIT
            assert client.recv(1) == b""
    assert ports.is_free(port)


def test_an_address_of_another_machine_is_not_free() -> None:
    assert not ports.is_free(unused(), "203.0.113.1")


def test_a_block_has_its_size_is_free_and_lies_below_the_ports_of_outgoing_connections() -> None:
    block = ports.free_block(50, random.Random(1))
    assert len(block) == 50
    assert ports.LOWEST <= block.start < block.stop <= ports.HIGHEST < 32768
    assert all(ports.is_free(port) for port in block)


def test_a_block_keeps_clear_of_what_is_taken() -> None:
    taken = range(ports.LOWEST, ports.HIGHEST - 400)
    block = ports.free_block(100, random.Random(2), [taken])
    assert block.start >= taken.stop


def test_no_room_for_a_block_is_said() -> None:
    with pytest.raises(FixSetup, match="no 100 neighbouring free TCP ports"):
        ports.free_block(100, random.Random(3), [range(65536)])


def test_the_next_free_port_is_taken_when_the_wanted_one_is_not_free(listener: int) -> None:
    found = ports.first_free(listener)
    assert listener < found < listener + 50
    assert ports.is_free(found)


def test_the_holder_of_a_port_is_named(listener: int) -> None:
    found = ports.holder(listener)
    assert found is not None
    assert found.pid == os.getpid()
    assert not found.is_haproxy
    assert f"process {os.getpid()}" in str(found)


def test_nobody_holds_a_free_port() -> None:
    assert ports.holder(unused()) is None


def test_a_port_in_use_is_said_with_the_port_and_the_process(listener: int) -> None:
    with pytest.raises(FixSetup, match=rf"port {listener} is in use by process {os.getpid()} .*pick another --port"):
        ports.require_free(listener, "127.0.0.1")


ORPHAN = """
import os, socket, sys, time
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(1)
if os.fork():
    os._exit(0)
while os.getppid() != 1:
    time.sleep(0.01)
print(os.getpid(), server.getsockname()[1], flush=True)
time.sleep(60)
"""


def test_an_orphaned_haproxy_is_named_with_its_pid_and_the_remedy() -> None:
    # Not an HAProxy: a Python of that name, which is all that can be seen of it from outside.
    command = ["bash", "-c", f"exec -a /opt/haproxy {sys.executable} -c '{ORPHAN}'"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, port = (int(word) for word in starter.stdout.readline().split())
        try:
            with pytest.raises(FixSetup, match=re.escape(f"stop it with `kill {pid}`")):
                ports.require_free(port, "127.0.0.1")
        finally:
            os.kill(pid, 9)
