"""GET /v1/power and /v1/energy: what they answer, and what when nobody can tell."""

from typing import Any

import pytest
from fastapi import FastAPI
from ingress_client import Client
from ledger_windows import MIDNIGHT_S, window

from cluster.bookkeeping import EnergyDesk
from cluster.energy_routes import MOST_WINDOWS, add_energy
from cluster.ledger.store import Ledger
from cluster.reporting.payload import EnergyResponse, energy
from cluster.schemas import PowerResponse
from models.errors import FixFile, FixSetup, GreenFlowError, Late, TryAgain

POWER: dict[str, Any] = {
    "time_s": 5.0,
    "power_w": None,
    "unknown": "nothing is billed yet",
    "quality": None,
    "nodes": [],
    "not_read": [],
    "ledger_error": "FixSetup: the disk is full",
}
PATHS = ("/v1/power", "/v1/energy")


class Told:
    """Answers what it was given, and keeps what it was asked."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.asked = ledger, list[int]()

    async def power(self) -> dict[str, Any]:
        return POWER

    async def energy(self, windows: int) -> dict[str, Any]:
        self.asked.append(windows)
        with self.ledger.use() as db:
            return energy(db, windows).model_dump(mode="json")


class Speechless:
    """Cannot tell."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def power(self) -> dict[str, Any]:
        raise self.error

    async def energy(self, windows: int) -> dict[str, Any]:
        raise self.error


@pytest.fixture
def desk() -> Told:
    ledger = Ledger(None)
    for number in (1, 2, 3):
        ledger.write(window(number, MIDNIGHT_S + number))
    return Told(ledger)


def client_of(desk: EnergyDesk | None) -> Client:
    app = FastAPI()
    add_energy(app, desk)
    return Client(app)


def test_power_is_told_as_the_desk_has_it(desk: Told) -> None:
    response = client_of(desk).get("/v1/power")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    PowerResponse.model_validate_json(response.content, strict=True)
    assert response.json() == POWER


def test_energy_is_told_with_its_newest_windows(desk: Told) -> None:
    client = client_of(desk)
    told = EnergyResponse.model_validate_json(client.get("/v1/energy?windows=2").content)
    assert [one.number for one in told.windows] == [3, 2]
    assert EnergyResponse.model_validate_json(client.get("/v1/energy").content).windows[-1].number == 1
    assert client.get("/v1/energy?windows=0").json()["windows"] == []
    assert desk.asked == [2, 60, 0]


@pytest.mark.parametrize("windows", ["-1", str(MOST_WINDOWS + 1), "many", "1.5", ""])
def test_a_number_of_windows_that_is_none_is_refused_by_name(desk: Told, windows: str) -> None:
    response = client_of(desk).get(f"/v1/energy?windows={windows}")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "windows"]
    assert desk.asked == []


@pytest.mark.parametrize("path", PATHS)
def test_without_a_desk_they_say_which_setting_leaves_joules_out(path: str) -> None:
    response = client_of(None).get(path)
    assert response.status_code == 404
    assert "energy.enabled" in response.json()["detail"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "error",
    [TryAgain("it restarts"), Late("no answer in 10 s"), FixSetup("the disk is full"), FixFile("a.db", "", "damaged")],
    ids=lambda error: type(error).__name__,
)
def test_nobody_can_tell_now(path: str, error: GreenFlowError) -> None:
    response = client_of(Speechless(error)).get(path)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"detail": str(error)}


@pytest.mark.parametrize("path", PATHS)
def test_a_mistake_of_ours_is_not_hidden(path: str) -> None:
    with pytest.raises(ZeroDivisionError):
        client_of(Speechless(ZeroDivisionError())).get(path)


def test_the_routes_are_described() -> None:
    paths = client_of(None).get("/openapi.json").json()["paths"]
    for path, model in (("/v1/power", "PowerResponse"), ("/v1/energy", "EnergyResponse")):
        answers = paths[path]["get"]["responses"]
        assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith(f"/{model}")
        assert {"404", "503"} <= answers.keys()
