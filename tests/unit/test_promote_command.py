"""`greenflow promote` as a command, against the real routes over a real desk."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from candidates import described
from click.testing import CliRunner, Result
from fastapi import FastAPI
from on_loopback import served
from promoting import BROKEN, OWN, A, Locked, name, opened

from cluster.candidate import write_candidate
from cluster.cli import greenflow
from cluster.limits.tokens import tokens_of
from cluster.promotion.model import sha256_of_bytes
from cluster.promotion.port import LocalPromotionDesk
from cluster.promotion.routes import MOST_BYTES, add_promotion
from models.errors import FixFile, FixRequest, FixSetup, GreenFlowError, TryAgain

ANNA, BO = "sesame-sesame-1234", "another+token/9876="
VARIABLE = "GREENFLOW_ADMIN_TOKEN"
NOON_S = 1_764_072_000.0  # 2025-11-25T12:00Z
CHAINS = ("a>b", "a>c", "d>b")


@dataclass
class World:
    """A server, and what is behind it."""

    url: str
    ledger: Locked
    desk: LocalPromotionDesk

    def run(self, *arguments: str | Path, token: str | None = f"anna:{ANNA}") -> Result:
        """The command, with the server's address."""
        return command(*arguments, "--url", self.url, token=token)

    @property
    def current(self) -> str:
        return self.desk._desk.current.model.name


def command(*arguments: str | Path, token: str | None = ANNA) -> Result:
    return CliRunner().invoke(greenflow, ["promote", *map(str, arguments)], env={VARIABLE: token})


@pytest.fixture(scope="module")
def opened_once() -> Iterator[tuple[str, list[LocalPromotionDesk]]]:
    """One server for all tests; the desk that it asks is the list's last."""
    desks = list[LocalPromotionDesk]()
    app = FastAPI()

    class Newest:
        def __getattr__(self, called: str) -> Any:
            return getattr(desks[-1], called)

    add_promotion(app, Newest(), tokens_of(f"anna:{ANNA},bo:{BO}"))

    @app.get("/v1/chains")
    def chains() -> dict[str, Any]:
        cost = {"flops": 1.0, "energy_j": None, "co2e_g": None, "quality": None}
        listed = [{"id": one, "stages": [], "cost": cost, "static": False} for one in CHAINS]
        return {"cascade": "tiny", "k": 5, "chains": listed}

    for url in served(app):
        yield url, desks


@pytest.fixture
def world(opened_once: tuple[str, list[LocalPromotionDesk]]) -> World:
    url, desks = opened_once
    ledger = Locked()
    desks.append(LocalPromotionDesk(opened(ledger), lambda: NOON_S))
    return World(url, ledger, desks[-1])


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "a.onnx").write_bytes(A)
    return tmp_path / "a.onnx"


@dataclass
class Folder:
    """A candidate's folder, as `greenflow train-reward --log` writes it."""

    path: Path
    model: Path

    def describes(self, **known: Any) -> Path:
        write_candidate(self.path, self.model, described(self.model, **{"chains": CHAINS, **known}))
        return self.path


@pytest.fixture
def candidate(tmp_path: Path, model: Path) -> Folder:
    return Folder(tmp_path / "candidate", model)


def refusal(result: Result, error: type[GreenFlowError], *said: str) -> None:
    assert isinstance(result.exception, error), (result.exception, result.output)
    for one in said:
        assert one in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_model_is_promoted_and_taken_back(world: World, model: Path) -> None:
    result = world.run(model)
    assert result.exit_code == 0, (result.output, result.exception)
    assert result.stdout.splitlines() == [
        f"predicts  {name(A)}, since 2025-11-25 12:00:00Z by anna",
        f"before    {name(OWN)}, the cascade's own, from the start",
    ]
    result = world.run("--back", token=f"bo:{BO},anna:{ANNA}")
    assert result.exit_code == 0, result.exception
    assert result.stdout.splitlines() == [
        f"predicts  {name(OWN)}, the cascade's own, since 2025-11-25 12:00:00Z by bo",
        f"before    {name(A)}, since 2025-11-25 12:00:00Z by anna",
    ]


def test_which_one_predicts_is_shown_to_everybody(world: World, model: Path) -> None:
    result = world.run("--show", token=None)
    assert result.exit_code == 0, result.exception
    assert result.stdout.splitlines() == [f"predicts  {name(OWN)}, the cascade's own, from the start", "before    none"]
    world.run(model)
    told = json.loads(world.run("--show", "--json", token=None).stdout)
    assert told["current"] == {
        "name": name(A),
        "sha256": sha256_of_bytes(A),
        "own": False,
        "author": "anna",
        "since_s": NOON_S,
    }


def test_a_candidate_is_promoted_from_its_folder(world: World, candidate: Folder) -> None:
    result = world.run(candidate.describes())
    assert result.exit_code == 0, result.exception
    assert world.current == name(A)


def test_a_candidate_for_another_cascade_is_not_even_sent(world: World, candidate: Folder) -> None:
    refusal(world.run(candidate.describes(cascade="demo")), FixFile, "candidate.json: cascade", "'demo'", "'tiny'")
    refusal(world.run(candidate.describes(chains=CHAINS[:2])), FixFile, "candidate.json: chains: are 2", "has 3")
    swapped = (CHAINS[1], CHAINS[0], CHAINS[2])
    refusal(world.run(candidate.describes(chains=swapped)), FixFile, "chains.0: is a>c", "a>b")
    assert world.current == name(OWN)


def test_a_folder_that_is_no_candidate_is_told_so(world: World, tmp_path: Path) -> None:
    refusal(world.run(tmp_path), FixFile, "candidate.json")


@pytest.mark.parametrize("arguments", [[], ["--back", "--show"]])
def test_one_thing_is_asked_at_a_time(world: World, arguments: list[str]) -> None:
    result = world.run(*arguments)
    assert result.exit_code == 2
    assert "name one of CANDIDATE, --back and --show" in result.stderr


def test_a_model_that_is_not_there_or_too_large_is_told_before_anything_is_sent(world: World, tmp_path: Path) -> None:
    assert world.run(tmp_path / "none.onnx").exit_code == 2
    with (tmp_path / "large.onnx").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    refusal(world.run(tmp_path / "large.onnx"), FixFile, "large.onnx", str(MOST_BYTES))


def test_what_is_no_reward_model_is_refused_with_the_reason(world: World, tmp_path: Path) -> None:
    (tmp_path / "b.onnx").write_bytes(BROKEN)
    refusal(world.run(tmp_path / "b.onnx"), FixRequest, "no reward model of this cascade", "NaN")
    assert world.current == name(OWN)


def test_with_none_before_there_is_none_to_go_back_to(world: World) -> None:
    refusal(world.run("--back"), FixSetup, "none to go back to")


@pytest.mark.parametrize(
    ("token", "said"), [(None, "--token-file"), ("wrong-wrong-wrong-wrong", "refuses the token"), ("short", VARIABLE)]
)
def test_a_missing_or_wrong_token_is_told_with_the_remedy(world: World, model: Path, token: str, said: str) -> None:
    for arguments in ([model], ["--back"]):
        refusal(world.run(*arguments, token=token), FixSetup, said)
    assert world.current == name(OWN)


def test_a_large_model_with_a_wrong_token_is_told_so_too(world: World, tmp_path: Path) -> None:
    (tmp_path / "large.onnx").write_bytes(bytes(8 << 20))
    refusal(world.run(tmp_path / "large.onnx", token="wrong-wrong-wrong-wrong"), FixSetup, "refuses the token")


def test_a_ledger_that_is_locked_means_try_again(world: World, model: Path) -> None:
    world.ledger.writes = False
    refusal(world.run(model), TryAgain, "cannot be kept")
    assert world.current == name(OWN)


def test_where_no_server_is_it_is_told_how_to_start_one(model: Path) -> None:
    refusal(command(model, "--url", "http://127.0.0.1:9"), FixSetup, "greenflow up")
