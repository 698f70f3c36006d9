"""The exposures that a click model may learn from, in four parts that share no user."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.errors import FixFile
from models.splits import place_of
from models.training.batches import exposure_batches
from models.worlds.base import Log
from models.worlds.kuairand import KuaiRand

SALT = "click model "
SHARES = {"fit": 0.5, "tune": 0.1, "calibrate": 0.2, "judge": 0.2}


@dataclass(frozen=True)
class Part:
    """Exposures as tensors: user (R, Fu), history (R, L), item (n, Fi), row and click (n,); and their users."""

    user: Tensor
    history: Tensor
    item: Tensor
    row: Tensor
    click: Tensor
    of_user: NDArray[np.int64]
    day: NDArray[np.int64]

    @classmethod
    def of(cls, log: Log, requests: NDArray[np.bool_]) -> "Part":
        """The exposures of these requests, (R,) true where wanted."""
        part = log.only(requests)
        [batch] = exposure_batches(part, len(part), rng=None)
        users, day = part.user_row[part.request].astype(np.int64), part.day[part.request].astype(np.int64)
        return cls(batch.user, batch.history, batch.item, batch.row, batch.click, users, day)

    @property
    def clicked(self) -> NDArray[np.bool_]:
        """(n,)."""
        found: NDArray[np.bool_] = self.click.numpy() > 0
        return found


def split(data: KuaiRand) -> dict[str, Part]:
    """The four parts, by name. Raises FixFile when one of them holds nothing."""
    ids = data.world.users.ids
    places = place_of(ids.tolist(), SALT)
    borders = np.cumsum(list(SHARES.values()))[:-1]
    belongs = np.digitize(places, borders)[data.unseen.user_row]
    parts = {}
    for at, name in enumerate(SHARES):
        if not (belongs == at).any():
            raise FixFile(data.report.folder, "", f"no exposures to {name} a click model on; it needs more users")
        parts[name] = Part.of(data.unseen, belongs == at)
    return parts


def chances(network: nn.Module, part: Part) -> NDArray[np.float64]:
    """The chance of a click on each exposure, (n,)."""
    network.eval()
    with torch.no_grad():
        logits: Tensor = network(part.user, part.history, part.item, part.row)
    found: NDArray[np.float64] = torch.sigmoid(logits.double()).numpy()
    return found
