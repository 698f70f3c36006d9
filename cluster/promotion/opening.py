"""From a cascade to who owns which reward model predicts for it. No Ray here."""

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Rewards
from allocator.reward import RewardModel
from cluster.control_settings import reward_model_name, start_rewards
from cluster.ledger.store import Ledger
from cluster.promotion.desk import ModelDesk
from cluster.promotion.model import Model, is_named
from models.errors import FixFile
from models.loading import Cascade
from models.spec import FILE_NAME


def open_model_desk(cascade: Cascade, space: ChainSpace, known: Rewards, ledger: Ledger) -> ModelDesk:
    """Who owns which reward model predicts. Raises FixFile when the cascade's own was replaced while it was read.

    known  what the cascade's own predicts of users on file
    """
    spec, name = cascade.spec, reward_model_name(cascade.spec)
    assert spec.reward is not None, "nobody asks where nobody predicts"
    content = (cascade.folder / spec.reward.file).read_bytes()
    if not is_named(content, name):
        raise FixFile(cascade.folder / spec.reward.file, "sha256", f"is another file than {FILE_NAME} says")

    def try_out(content: bytes, name: str) -> Rewards:
        model = RewardModel.of_bytes(content, name, cascade, space)
        try:
            rewards = start_rewards(model, cascade, space)
        except Exception as error:  # whatever the graph does wrong, the model is to blame
            raise FixFile(name, "reward", f"cannot be run on users on file: {' '.join(str(error).split())}") from None
        if not np.isfinite(rewards).all():
            raise FixFile(name, "reward", "predicts NaN or infinity of users on file; train the model again")
        return rewards

    return ModelDesk(Model(name, spec.reward.sha256, content, known), ledger, try_out)
