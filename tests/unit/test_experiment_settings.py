"""Settings of the standing experiment, of feedback and of the log: defaults, variables, and what is refused."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr
from small_space import SPACE
from tiny_cascade import TinyCascade

from allocator.arms import HOLDBACK, MOST_SALT, Assignment
from cluster.app import build, check
from cluster.config import Settings
from cluster.control_settings import control_of, wants_experiment
from cluster.experiment_settings import EXPLORED, ExperimentSettings
from cluster.salt import FILE
from models.errors import FixSetup


def settings(environment: Mapping[str, str], **overrides: object) -> Settings:
    return Settings.from_environment(overrides, environment)


def test_variables_set_the_experiment_the_feedback_and_the_log(tmp_path: Path) -> None:
    environment = {
        "GREENFLOW_EXPERIMENT_HOLDBACK": "0.05",
        "GREENFLOW_EXPERIMENT_EXPLORE": "0.1",
        "GREENFLOW_EXPERIMENT_SALT": "pepper",
        "GREENFLOW_FEEDBACK_HORIZON_S": "60",
        "GREENFLOW_LOG_FOLDER": str(tmp_path),
    }
    found = settings(environment)
    assert found.experiment.assignment == Assignment(0.05, "pepper")
    assert found.experiment.explores(logs=False) == 0.1
    assert found.feedback.horizon_s == 60.0
    assert found.log.folder == tmp_path
    assert settings(environment, experiment_holdback=0.2).experiment.holdback == 0.2


def test_one_in_fifty_is_held_back_when_nothing_is_said() -> None:
    assert settings({}).experiment.assignment.share == 0.02


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EXPERIMENT_HOLDBACK", "-0.1"),
        ("EXPERIMENT_HOLDBACK", "0.6"),
        ("EXPERIMENT_HOLDBACK", "nan"),
        ("EXPERIMENT_HOLDBACK", "some"),
        ("EXPERIMENT_EXPLORE", "0.51"),
        ("EXPERIMENT_EXPLORE", "-1"),
        ("EXPERIMENT_SALT", ""),
        ("EXPERIMENT_SALT", "ä" * (MOST_SALT // 2 + 1)),
        ("FEEDBACK_HORIZON_S", "0.5"),
        ("FEEDBACK_HORIZON_S", "inf"),
        ("FEEDBACK_MOST_PENDING", "10"),
    ],
)
def test_a_wrong_value_is_refused_by_the_settings_name(variable: str, value: str) -> None:
    with pytest.raises(FixSetup, match=f"GREENFLOW_{variable}"):
        settings({f"GREENFLOW_{variable}": value})


def test_a_variable_that_is_nearly_one_of_these_is_refused() -> None:
    with pytest.raises(FixSetup, match="did you mean GREENFLOW_EXPERIMENT_HOLDBACK"):
        settings({"GREENFLOW_EXPERIMENT_HOLDBAK": "0.1"})


def test_a_salt_is_never_shown() -> None:
    found = settings({"GREENFLOW_EXPERIMENT_SALT": "pepper-and-salt"})
    assert "pepper" not in repr(found) + str(found) + found.model_dump_json()
    with pytest.raises(FixSetup) as refused:
        settings({"GREENFLOW_EXPERIMENT_SALT": "pepper" * 10})
    assert "pepper" not in str(refused.value)


@pytest.mark.parametrize(
    ("explore", "enabled", "logs", "share"),
    [
        (None, True, False, 0.0),
        (None, True, True, EXPLORED),
        (None, False, True, 0.0),
        (0.0, True, True, 0.0),
        (0.2, True, False, 0.2),
        (0.2, True, True, 0.2),
    ],
)
def test_who_logs_explores_a_little_unless_told_otherwise(
    tiny: TinyCascade, tmp_path: Path, explore: float | None, enabled: bool, logs: bool, share: float
) -> None:
    experiment = ExperimentSettings(explore=explore, enabled=enabled)
    assert experiment.explores(logs) == share
    served = Settings.model_validate(
        {"cascade": tiny.folder, "experiment": experiment, "log": {"folder": tmp_path if logs else None}}
    )
    control = control_of(served, check(served).spec, SPACE)
    assert control.init(0.0).policy.exploration == share


def test_a_salt_that_is_said_stays_and_one_that_is_not_is_taken() -> None:
    said = ExperimentSettings(salt=SecretStr("said"))
    assert said.salted("made").assignment.salt == "said"
    assert ExperimentSettings().salted("made").assignment == Assignment(0.02, "made")


def test_another_salt_holds_others_back() -> None:
    one, other = (ExperimentSettings(holdback=0.5, salt=SecretStr(salt)).assignment for salt in ("one", "other"))
    held = [[each.of(user).arm == HOLDBACK for user in range(64)] for each in (one, other)]
    assert held[0] != held[1]


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [({}, True), ({"experiment": {"enabled": False}}, False), ({"allocator": {"enabled": False}}, False)],
)
def test_there_is_an_experiment_where_a_policy_decides_and_nobody_said_no(
    changes: dict[str, object], wanted: bool
) -> None:
    served = Settings.model_validate(changes)
    assert wants_experiment(served, check(served).spec) is wanted


def test_a_cascade_without_a_reward_model_has_no_experiment_and_needs_no_salt(
    tiny: TinyCascade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    build(Settings(cascade=tiny.folder))
    assert not (tmp_path / "greenflow" / FILE).exists()
    build(Settings())
    assert (tmp_path / "greenflow" / FILE).exists()
