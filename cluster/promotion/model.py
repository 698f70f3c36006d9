"""A reward model as the controller has it: its file's content, and what it predicts of users on file."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from allocator.choice import Rewards
from allocator.reward import REWARD_FILE

NAMED = 12
"""So many digits of a file's SHA-256 are in its name."""


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """One that is known to predict a finite reward per chain.

    name     what policies call it
    content  of its ONNX file
    known    (S, J) what it predicts of users on file, so that prices have something to start from
    """

    name: str
    sha256: str
    content: bytes = field(repr=False)
    known: Rewards = field(repr=False)


TryOut = Callable[[bytes, str], Rewards]
"""What a model's content, of that name, predicts of users on file. Blocks; raises FixFile for what is no such model."""


def sha256_of_bytes(content: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def name_of(sha256: str, file: str = REWARD_FILE) -> str:
    """What policies and replicas call a reward model: its file and the start of its hash."""
    return f"{file}@{sha256[:NAMED]}"


def is_named(content: bytes, name: str) -> bool:
    """Whether it is the content that the name stands for."""
    return sha256_of_bytes(content).startswith(name.rpartition("@")[2])
