"""One run of a loaded variant before anybody waits for it: the first is the slowest, on a GPU by far."""

import numpy as np

from models.batch import RaggedBatch
from models.features import UserQuery
from models.loading import Cascade, Variant
from models.spec import StageSpec


def warm_up(cascade: Cascade, stage: StageSpec, variant: Variant) -> None:
    """Run it for the first user of the table, on as many items as the stage ever infers for one."""
    users = cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(np.zeros(1, np.int64))])
    candidates = None
    if stage is not cascade.spec.stages[0]:
        items = np.arange(min(stage.items[-1], len(cascade.items)), dtype=np.int64)
        candidates = RaggedBatch.from_rows([items])
    variant.run(users, candidates, np.array([cascade.spec.k], dtype=np.int64))
