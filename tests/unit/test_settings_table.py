"""The reference of settings leaves none out, and is what the code says."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cluster.cli import greenflow
from cluster.config import GROUPS, Settings
from cluster.settings_table import NOT_SAID, Setting, settings, settings_markdown

SHIPPED = Path(__file__).parent.parent.parent / "deploy" / "SETTINGS.md"


def of(variable: str) -> Setting:
    (found,) = (one for one in settings() if one.variable == variable)
    return found


def test_every_setting_is_there_once_and_has_a_meaning() -> None:
    fields = {(group, field) for group, model in GROUPS.items() for field in model.model_fields}
    fields |= {("", field) for field in Settings.model_fields if field not in GROUPS}
    assert sorted((one.group, one.field) for one in settings()) == sorted(fields)
    assert all(len(one.meaning.split()) > 2 for one in settings())


def test_deploy_holds_what_the_code_says() -> None:
    assert SHIPPED.read_text() == settings_markdown(), (
        "write it anew: greenflow settings --markdown > deploy/SETTINGS.md"
    )


def test_no_path_of_the_machine_that_wrote_it_is_in_it() -> None:
    assert str(SHIPPED.parent.parent) not in settings_markdown()
    assert of("GREENFLOW_CASCADE").default == "the shipped demo"


@pytest.mark.parametrize(
    ("variable", "may_be", "default"),
    [
        ("GREENFLOW_BATCH_MAX_ROWS", "a whole number, 1 to 1,024", "64"),
        ("GREENFLOW_STAGE_TIMEOUT_S", "a number, above 0, 600 at most", "30"),
        ("GREENFLOW_LIMITS_POWER_W", "a number, 0 or more", NOT_SAID),
        ("GREENFLOW_PLACEMENT", "file, inline, own", "file"),
        ("GREENFLOW_POWER_SENSORS", "auto, none; or some of nvml, rapl, estimate, replay, by commas", "auto"),
        ("GREENFLOW_CARBON_TOKEN", "a secret", NOT_SAID),
        ("GREENFLOW_CARBON_KIND", "average, marginal", "average"),
        ("GREENFLOW_ENERGY_ENABLED", "true or false", "true"),
        ("GREENFLOW_KEEPER_RESOURCE", "a text of 1 to 200 characters", NOT_SAID),
    ],
)
def test_bounds_and_defaults_are_said_in_words(variable: str, may_be: str, default: str) -> None:
    assert (of(variable).may_be, of(variable).default) == (may_be, default)


def test_a_meaning_of_several_lines_is_told_whole() -> None:
    meaning = of("GREENFLOW_LOG_CONTEXTS").meaning
    assert meaning.startswith("log what the reward model sees")
    assert meaning.endswith("trained from the log")
    assert of("GREENFLOW_PAGE_MOST_LISTENERS").meaning.endswith("as long as somebody looks")


def test_the_command_shows_those_with_all_words_and_what_the_environment_says_but_no_secret() -> None:
    environment = {"GREENFLOW_CARBON_TOKEN": "hidden", "GREENFLOW_CARBON_ZONE": "DE"}
    shown = CliRunner().invoke(greenflow, ["settings", "carbon", "ELECTRICITY"], env=environment)
    assert shown.exit_code == 0
    assert "GREENFLOW_CARBON_TOKEN_FILE" in shown.stdout
    assert "GREENFLOW_CARBON_PUE" not in shown.stdout
    assert "here: DE" in shown.stdout
    assert "here: (set)" in shown.stdout
    assert "hidden" not in shown.stdout


@pytest.mark.parametrize(
    ("words", "environment", "said"),
    [
        (["nonsuch"], {}, "no setting has 'nonsuch'"),
        (["batch"], {"GREENFLOW_BATCH_MAX_ROWS": "0"}, "batch.max_rows"),
        (["batch"], {"GREENFLOW_BATCH_MAX_ROW": "8"}, "did you mean GREENFLOW_BATCH_MAX_ROWS"),
    ],
)
def test_the_command_says_what_is_wrong(words: list[str], environment: dict[str, str], said: str) -> None:
    result = CliRunner().invoke(greenflow, ["settings", *words], env=environment)
    assert result.exit_code != 0
    assert said in str(result.exception)
