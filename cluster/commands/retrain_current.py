"""The reward model that a candidate is to replace: the one that served, which need not be the cascade's own."""

from dataclasses import dataclass
from pathlib import Path

from allocator.chains import ChainSpace
from allocator.reward import RewardModel
from cluster.commands.retrain_asked import Asked
from cluster.promotion.client import read_model
from cluster.promotion.model import is_named, name_of, sha256_of_bytes
from models.errors import FixFile
from models.loading import Cascade


@dataclass(frozen=True, slots=True, eq=False)
class Current:
    """A model, and how it is told from others: by its file's content.

    name  what policies call it
    own   whether it is the cascade's
    """

    name: str
    sha256: str
    own: bool
    content: bytes
    model: RewardModel


def current_of(asked: Asked, cascade: Cascade, space: ChainSpace) -> Current:
    """The model that was named, else the cascade's own. Raises FixFile for what cannot predict for this cascade."""
    if asked.current is None:
        model, reward = RewardModel.open(cascade.folder, cascade.spec, space), cascade.spec.reward
        assert reward is not None, "it was opened"
        content = (cascade.folder / reward.file).read_bytes()
        return Current(name_of(reward.sha256, reward.file), reward.sha256, True, content, model)
    content, _ = read_model(asked.current)
    model = RewardModel.of_bytes(content, str(asked.current), cascade, space)
    sha256 = sha256_of_bytes(content)
    return Current(name_of(sha256), sha256, False, content, model)


def check_served(current: Current, served: str, log: Path) -> None:
    """Refuse to judge against a model by which the newest requests of a log were not decided. Raises FixFile.

    served  what policies called the one that decided them
    """
    if is_named(current.content, served):
        return
    found = f"the newest requests were decided by {served}"
    if current.own:
        found += f", and the cascade's own is {current.name}; name the file that served with --current"
    else:
        found += f", and --current names {current.name}"
    raise FixFile(log, "reward_model", f"{found}, or leave those requests out with --until")


def check_apart(asked: Asked) -> None:
    """Raises FixFile where the candidate would replace the very file that served."""
    if asked.current is not None and asked.out.resolve() in (asked.current.resolve(), asked.current.resolve().parent):
        raise FixFile(asked.out, "", "holds the model that --current names; name another folder with --out")
