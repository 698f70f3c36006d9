"""Admin tokens: what they look like, whose they are, and that nobody gets to see them."""

import hmac
import logging
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.config import Settings, admin_tokens, own_token
from cluster.limits import tokens as tokens_module
from cluster.limits.tokens import TOKEN, tokens_of
from models.errors import FixSetup

ANNA, BO = "sesame-sesame-1234", "another+token/9876="


def test_a_token_without_a_name_is_the_admins() -> None:
    assert tokens_of(ANNA).holder(ANNA) == "admin"
    assert tokens_of(f" {ANNA}\n").holder(ANNA) == "admin", "as a file holds it"


def test_several_tokens_have_a_name_each() -> None:
    tokens = tokens_of(f"anna:{ANNA}, bo.smith@ops:{BO}")
    assert (tokens.holder(ANNA), tokens.holder(BO)) == ("anna", "bo.smith@ops")
    assert tokens.holder("anna") is None


@pytest.mark.parametrize("nothing", ["", "  \n"])
def test_no_token_lets_nobody_in(nothing: str) -> None:
    tokens = tokens_of(nothing)
    assert not tokens
    assert [tokens.holder(given) for given in ("", "None", "admin")] == [None, None, None]


@given(st.from_regex(TOKEN, fullmatch=True), st.text())
def test_only_the_token_itself_opens(token: str, other: str) -> None:
    tokens = tokens_of(f"anna:{token}")
    assert tokens.holder(token) == "anna"
    assert (tokens.holder(other) == "anna") == (other == token)
    assert tokens.holder(token[:-1]) is None
    assert tokens.holder(token + "x") is None


def test_every_token_is_compared_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = list[tuple[int, int]]()

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return hmac.compare_digest(a, b)

    tokens = tokens_of(f"anna:{ANNA},bo:{BO},eve:{ANNA + BO}")
    monkeypatch.setattr(tokens_module, "hmac", type("Hmac", (), {"compare_digest": staticmethod(compare)}))
    for given_token in (ANNA, "x", "y" * 1000):
        compared.clear()
        tokens.holder(given_token)
        assert compared == [(32, 32)] * 3, "no early exit, and no length to be learned"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("short", "the token must have 16 to 256"),
        ("a" * 257, "the token must have 16 to 256"),
        (f"{ANNA} ?", "the token must have"),
        (f"{ANNA[:-1]}é", "the token must have"),
        (f"anna:{ANNA},", "token 2 must have"),
        (f"anna:{ANNA},bo:short", "token 2 must have"),
        (f"anna:{ANNA},anna:{BO}", "must differ"),
        (f"anna:{ANNA},bo:{ANNA}", "must differ"),
        (f"{ANNA},{BO}", "must differ"),
        (f":{ANNA}", "the name of the token"),
        (f"1st:{ANNA}", "the name of the token"),
        (f"{ANNA}-{ANNA}-{ANNA}:{BO}", "the name of the token"),
        (f"settings:{ANNA}", "the name of the token"),
    ],
)
def test_what_is_no_token_is_refused_without_telling_it(text: str, said: str) -> None:
    with pytest.raises(FixSetup, match=said) as refused:
        Settings.from_environment({}, {"GREENFLOW_ADMIN_TOKEN": text})
    with pytest.raises(FixSetup, match=said) as at_the_ingress:
        admin_tokens(None, {"GREENFLOW_ADMIN_TOKEN": text})
    for error in (refused.value, at_the_ingress.value):
        assert "GREENFLOW_ADMIN_TOKEN" in str(error)
        for secret in (ANNA, BO, "short", text):
            assert secret not in str(error)


def test_settings_hold_tokens_and_show_them_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    settings = Settings.from_environment({}, {"GREENFLOW_ADMIN_TOKEN": f"anna:{ANNA}"})
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("x").info("%s %r", settings, admin_tokens(settings, {}))
    shown = [repr(settings), str(settings.model_dump()), settings.model_dump_json(), caplog.text]
    assert not [text for text in shown if ANNA in text]


def test_a_replica_knows_the_tokens_from_the_settings_or_better_from_its_own_environment() -> None:
    settings = pickle.loads(pickle.dumps(Settings.model_validate({"admin_token": f"anna:{ANNA}"})))
    assert admin_tokens(settings, {}).holder(ANNA) == "anna"
    assert admin_tokens(settings, {"GREENFLOW_ADMIN_TOKEN": ""}).holder(ANNA) == "anna"
    own = admin_tokens(settings, {"GREENFLOW_ADMIN_TOKEN": f"bo:{BO}"})
    assert (own.holder(BO), own.holder(ANNA)) == ("bo", None)
    assert not admin_tokens(Settings(), {})
    assert not admin_tokens(None, {})


def test_the_command_line_takes_what_the_environment_says() -> None:
    assert own_token({"GREENFLOW_ADMIN_TOKEN": ANNA}) == ANNA
    assert own_token({}) == ""
