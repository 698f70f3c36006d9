"""`greenflow train-reward --first`: a reward model for a cascade of which nothing was logged yet."""

import tempfile
from pathlib import Path

import onnx
from rich.console import Console

from allocator.chains import ChainSpace
from allocator.first_guess import first_guess
from allocator.reward import REWARD_FILE, RewardModel, install
from models.checking import check_cascade
from models.errors import FixFile
from models.spec import FILE_NAME
from models.training.reward_same import same_reward


def first_reward(console: Console, folder: Path) -> None:
    """Make a guess the cascade's reward model. Raises FixFile where it has one already."""
    cascade = check_cascade(folder)
    spec, users = cascade.spec, cascade.spec.tables.users
    if spec.reward is not None:
        raise FixFile(folder / FILE_NAME, "reward", "names a reward model already; --log makes a better one of a log")
    space = ChainSpace(spec, len(cascade.items))
    width = len(users.columns) + cascade.users.history_length
    with tempfile.TemporaryDirectory() as build:
        model = Path(build) / REWARD_FILE
        onnx.save(same_reward(first_guess(space), width, integers=not users.is_float), model)
        reference = install(model, folder)
    RewardModel.open(folder, check_cascade(folder).spec, space)
    console.print(f"wrote {folder / reference.file} into cascade.yaml", highlight=False, soft_wrap=True)
    console.print(
        "It knows nothing: every request runs the static chain, or under a limit one that spends less. Serve it with\n"
        "GREENFLOW_LOG_FOLDER and GREENFLOW_EXPERIMENT_EXPLORE=0.05, tell rewards by POST /v1/feedback, and then make\n"
        "one that knows: greenflow train-reward --log",
        highlight=False,
        soft_wrap=True,
    )
