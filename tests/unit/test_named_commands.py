"""What people are told to type is there to be typed."""

import re
from pathlib import Path

import cluster
from cluster.cli import COMMANDS

CODE = Path(cluster.__file__).parent
NAMED = re.compile(r"`greenflow ([a-z][a-z-]*)")


def test_every_command_that_is_named_exists() -> None:
    files = [*CODE.rglob("*.py"), *CODE.rglob("*.js"), CODE.parent / "README.md"]
    named = {(name, file.name) for file in files for name in NAMED.findall(file.read_text())}
    assert len(named) > 20
    assert {(name, file) for name, file in named if name not in COMMANDS} == set()
