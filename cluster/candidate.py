"""A candidate: a reward model that was trained from the log, and what is known of it. No Ray here.

DIR/reward.onnx     the model
DIR/candidate.json  what it is for, what it was trained from, and how it was judged
"""

import errno
import os
import shutil
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from allocator.ope.evaluation import Evaluation
from allocator.reward import REWARD_FILE
from models.checking import sha256_of
from models.errors import FixFile

CANDIDATE_FILE = "candidate.json"


class Span(BaseModel):
    """Requests of the log, and from when to when they were decided, in Unix time."""

    model_config = ConfigDict(frozen=True)

    requests: int
    users: int
    explored: int
    from_s: float
    to_s: float


class Candidate(BaseModel):
    """What is known of a candidate.

    sha256         of the model's file
    cascade        name of the cascade that it is for, and `digest` of all that decides what its chains recommend
    chains         ids of the chain space, in the order of the model's rewards
    replaces       sha256 of the reward model that it was trained to replace, and judged against
    versions       of greenflow and of what trained it
    log            the log that it was trained from
    trained, held  what it was trained on, and the later requests that it was judged on and never saw
    horizon_s      within which an outcome counted
    free_stages    the stages without structure
    evaluation     candidate against current; None where nothing could be held out
    """

    model_config = ConfigDict(frozen=True)

    format: Literal[1] = 1
    sha256: str
    cascade: str
    digest: str
    chains: tuple[str, ...]
    replaces: str
    versions: dict[str, str]
    log: str
    trained: Span
    held: Span
    horizon_s: float
    seed: int
    free_stages: tuple[str, ...]
    evaluation: Evaluation


def check_place(folder: Path) -> None:
    """Raises FixFile where a candidate could not be put: whoever trains one asks before it. Nothing is made here."""
    try:
        there = next(one for one in (folder.absolute(), *folder.absolute().parents) if one.exists())
        if not there.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(there))
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(there))
        if folder.exists():
            _check_known(folder)
    except OSError as error:
        raise _refused(folder, error) from None


def write_candidate(folder: Path, model: Path, candidate: Candidate) -> None:
    """Put both files there. Whoever reads meanwhile finds the old candidate, none, or the new one, and never a mixture.

    Raises FixFile where the folder holds other things, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _check_known(folder)
        _write(folder, model, candidate)
    except OSError as error:
        raise _refused(folder, error) from None


def _check_known(folder: Path) -> None:
    known = {name for own in (CANDIDATE_FILE, REWARD_FILE) for name in (own, f".{own}.tmp")}
    strange = [path.name for path in folder.iterdir() if path.name not in known]
    if strange:
        raise FixFile(folder, "", f"holds other files, {sorted(strange)[0]} for one; name another folder with --out")


def _refused(folder: Path, error: OSError) -> FixFile:
    why = f"{error.strerror or error} ({error.filename or folder})"
    return FixFile(folder, "", f"cannot be written: {why}; name another folder with --out")


def _write(folder: Path, model: Path, candidate: Candidate) -> None:
    (folder / CANDIDATE_FILE).unlink(missing_ok=True)
    for name in (REWARD_FILE, CANDIDATE_FILE):
        temporary = folder / f".{name}.tmp"
        if name == REWARD_FILE:
            shutil.copyfile(model, temporary)
        else:
            temporary.write_text(candidate.model_dump_json(indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, folder / name)


def read_candidate(folder: Path) -> Candidate:
    """What is known of the candidate in a folder. Raises FixFile naming the file and field, also when the model's file
    is not the one that was written with it."""
    path = folder / CANDIDATE_FILE
    try:
        found = Candidate.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FixFile(path, "", "no such file; greenflow train-reward --log makes a candidate") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise FixFile(path, ".".join(map(str, first["loc"])), first["msg"]) from None
    if sha256_of(folder / REWARD_FILE) != found.sha256:
        raise FixFile(folder / REWARD_FILE, "sha256", "is not the model that candidate.json tells of; train it again")
    return found
