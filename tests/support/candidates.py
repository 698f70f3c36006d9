"""Candidates made up for tests."""

from pathlib import Path
from typing import Any

import numpy as np

from allocator.ope.evaluation import evaluate
from allocator.ope.logged import Logged
from allocator.ope.targets import Scene, judged
from cluster.candidate import Candidate, Span
from models.checking import sha256_of


def described(model: Path, **known: Any) -> Candidate:
    """What may be known of a candidate, as far as it is not given."""
    count = np.zeros(9, np.int64)
    scene = Scene(np.ones((9, 2)), count, count, np.zeros((1, 3)), np.ones(3), np.zeros(3, np.int64), np.ones(9))
    rewards = lambda contexts: np.eye(3)[:1].repeat(len(contexts), axis=0)  # noqa: E731
    found = evaluate(Logged(np.arange(9), np.ones(9), np.ones(9)), judged(scene, (rewards, rewards)))
    span = Span(requests=1, users=1, explored=0, from_s=0.0, to_s=1.0)
    made = {
        "sha256": sha256_of(model),
        "cascade": "tiny",
        "digest": "d",
        "chains": ("a",),
        "replaces": "r",
        "versions": {},
        "log": "log",
        "trained": span,
        "held": span,
        "horizon_s": 1.0,
        "seed": 0,
        "free_stages": (),
        "evaluation": found,
    }
    return Candidate.model_validate({**made, **known})
