"""Whom the traffic asks for: request bodies of users drawn from a cascade's user table."""

import json
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np

from models.errors import FixFile
from models.features import open_array
from models.spec import read_spec

POOL = 16_384


def user_ids(folder: Path) -> Sequence[int] | Sequence[str]:
    """The ids of the cascade's user table, ascending. Raises FixFile when cascade or table is unreadable."""
    ref = read_spec(folder).tables.users.ids
    ids: list[int] | list[str] = open_array(folder, ref, "tables.users.ids", dims=1).tolist()
    if not ids:
        raise FixFile(folder / ref.file, "tables.users.ids", "must not be empty")
    return ids


def request_bodies(
    ids: Sequence[int] | Sequence[str],
    seed: int,
    unknown_share: float = 0.0,
    chain: str | None = None,
    count: int = POOL,
) -> list[bytes]:
    """`count` encoded bodies of POST /v1/recommend, for users drawn evenly and with replacement.

    A share of `unknown_share` (0 to 1) in expectation asks for users who are not in `ids`. The same arguments
    give the same bodies.
    """
    random = np.random.default_rng(seed)
    picks = random.integers(len(ids), size=count).tolist()
    strangers = (random.random(count) < unknown_share).tolist()
    known: Set[int | str] = frozenset(ids)
    extra = {} if chain is None else {"chain": chain}
    bodies = []
    for position, (pick, strange) in enumerate(zip(picks, strangers, strict=True)):
        user = _stranger(ids, known, position) if strange else ids[pick]
        bodies.append(json.dumps({"user_id": user, **extra}, separators=(",", ":")).encode())
    return bodies


def _stranger(ids: Sequence[int] | Sequence[str], known: Set[int | str], position: int) -> int | str:
    last = ids[-1]
    if isinstance(last, int):
        return last + 1 + position
    name = f"unknown-{position}"
    while name in known:
        name += "-"
    return name
