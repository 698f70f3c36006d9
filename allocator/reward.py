"""The reward model: what each chain would earn from a request, predicted for all chains in one run."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace
from models.batch import FloatArray, UserRows
from models.checking import NOT_OF_THESE, sha256_of, trial_users
from models.errors import FixFile
from models.loading import Cascade
from models.session import Session
from models.spec import FILE_NAME, CascadeSpec, FileRef, read_spec, write_spec

REWARD_FILE = "reward.onnx"
EXTERNAL = "External data"
"""What ONNX Runtime says of weights that are not in the model's own file."""


def context_of(users: UserRows) -> NDArray[Any]:
    """The reward model's input, (rows, Fu + L): user features, then history codes, in the user features' type.

    float32 holds history codes exactly up to a catalogue of 2 ** 24 items.
    """
    return users.contexts


class RewardModel:
    """A cascade's reward model, loaded. Safe to run from several threads at once."""

    def __init__(self, session: Session) -> None:
        self._session = session

    @classmethod
    def open(cls, folder: Path, spec: CascadeSpec, space: ChainSpace) -> "RewardModel":
        """Load the file that `reward` of cascade.yaml names, and try it on two cold users.

        Raises FixFile when there is none, or when its output does not have a finite number per chain of the space.
        """
        if spec.reward is None:
            raise FixFile(folder / FILE_NAME, "reward", "names no reward model; greenflow train-reward makes one")
        path = folder / spec.reward.file
        model = cls(Session.open(path))
        width = model._session.widths.get("context")
        if not isinstance(width, int):
            raise FixFile(path, "inputs", "expected one input, context, of a fixed width")
        model._try(path, np.zeros((2, width), dtype=model._session.inputs["context"]), len(space))
        return model

    @classmethod
    def of_bytes(cls, content: bytes, name: str, cascade: Cascade, space: ChainSpace) -> "RewardModel":
        """Load what such a file holds, for that cascade, and try it on `trial_users`. Blocks.

        Raises FixFile, of the file `name`, for what is no model, lacks weights that lie in other files, takes other
        inputs, fails where the cascade's tables hold greater codes than it was made for, or does not give a finite
        number per chain.
        """
        users = cascade.spec.tables.users
        kind = "float32" if users.is_float else "int64"
        width = len(users.columns) + cascade.users.history_length
        with tempfile.TemporaryDirectory(prefix="greenflow-reward-") as folder:
            path = Path(folder) / REWARD_FILE
            path.write_bytes(content)
            try:
                model = cls(Session.open(path))
                model._session.check_signature({"context": kind}, {"context": width}, "reward")
                model._try(path, context_of(trial_users(cascade)), len(space))
            except FixFile as error:
                raise FixFile(name, error.field, _said(error.problem, folder)) from None
        return model

    def _try(self, path: Path, contexts: NDArray[Any], chains: int) -> None:
        """Raises FixFile unless it has a finite number per chain for each of the contexts."""
        try:
            rewards = self.predict(contexts)
        except Exception as error:  # ONNX Runtime raises a dozen unrelated classes
            raise FixFile(path, "reward", f"{NOT_OF_THESE}: {' '.join(str(error).split())}") from None
        if rewards.shape != (len(contexts), chains):
            problem = f"expected {chains} chains, got rewards of shape {rewards.shape}; train the model again"
            raise FixFile(path, "reward", problem)
        if not np.isfinite(rewards).all():
            raise FixFile(path, "reward", "predicts NaN or infinity; train the model again")

    def predict(self, contexts: NDArray[Any]) -> FloatArray:
        """Contexts (B, Fc) of `context_of` -> the predicted reward of every chain, (B, J) in the space's order."""
        return self._session.run({"context": contexts})


def _said(problem: str, folder: str) -> str:
    """Without the name of a file that is gone when somebody reads it."""
    if EXTERNAL in problem:
        return "its weights lie in other files, which did not come with it: save the model as one file"
    return problem.replace(f"{folder}/{REWARD_FILE}", "it")


def install(model: Path, folder: Path) -> FileRef:
    """Make an ONNX file the cascade's reward model; whoever opens the folder meanwhile finds the old, none, or the new.

    So the old one is taken out of cascade.yaml before its file is replaced. Raises FixFile.
    """
    spec = read_spec(folder)
    if spec.reward is not None:
        _replace_spec(spec.model_copy(update={"reward": None}), folder)
    with tempfile.TemporaryDirectory(prefix=".reward-", dir=folder) as build:
        copied = Path(build) / REWARD_FILE
        shutil.copyfile(model, copied)
        os.replace(copied, folder / REWARD_FILE)
    reference = FileRef(file=REWARD_FILE, sha256=sha256_of(folder / REWARD_FILE))
    _replace_spec(spec.model_copy(update={"reward": reference}), folder)
    return reference


def _replace_spec(spec: CascadeSpec, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".spec-", dir=folder) as build:
        os.replace(write_spec(spec, Path(build)), folder / FILE_NAME)
