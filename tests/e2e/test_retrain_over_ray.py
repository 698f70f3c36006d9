"""A log is read by a task of a Ray cluster as it is read here, and what is wrong with it is said the same."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from logged_requests import HORIZON_S, write_log
from ray_head import ray_head
from tiny_cascade import TinyCascade
from tiny_reward import with_reward

from cluster.commands.retrain_rows import Reading
from cluster.log_over_ray import read_over_ray
from models.errors import FixFile


def test_over_ray_the_log_is_the_same(tiny: TinyCascade, tmp_path: Path) -> None:
    own = with_reward(tiny, tmp_path / "own")
    write_log(own, tmp_path / "log", requests=500)
    reading = Reading(tmp_path / "log", None, None, HORIZON_S, False)
    here = reading.read()
    with ray_head() as address:
        there = read_over_ray(address, reading)
        with pytest.raises(FixFile, match="is no folder on the node"):
            read_over_ray(address, Reading(tmp_path / "nowhere", None, None, HORIZON_S, False))
        (tmp_path / "empty").mkdir()
        with pytest.raises(FixFile, match="holds no log of decisions"):
            read_over_ray(address, Reading(tmp_path / "empty", None, None, HORIZON_S, False))
    assert len(here[0]) == 500
    for one, other in zip(here, there, strict=True):
        for column in fields(one):
            np.testing.assert_array_equal(getattr(one, column.name), getattr(other, column.name))
