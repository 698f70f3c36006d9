"""Another reward model promoted on a served application under load, back, and what crashes leave of it."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from asking import Asked, Asking
from click.testing import CliRunner
from live import kill, live, replicas_of
from pydantic import SecretStr
from tiny_cascade import TinyCascade
from tiny_reward import another_reward, with_reward
from waiting import until

from cluster.app import CONTROLLER
from cluster.cli import greenflow
from cluster.config import EnergySettings, Settings
from cluster.launching.launch import Running

TOKEN = "0123456789abcdef-anna"
PLUS, RATE = 100.0, 60.0
WITHIN_S = 2.0
"""Two windows."""
SLOW_S = 1.0
"""What a machine that is busy may take longer."""


@dataclass
class Served:
    app: Running
    folder: Path

    def promote(self, *arguments: str) -> dict:
        """What the command answers, and when it was asked."""
        result = CliRunner().invoke(
            greenflow, ["promote", *arguments, "--json", "--url", self.app.url], env={"GREENFLOW_ADMIN_TOKEN": TOKEN}
        )
        assert result.exit_code == 0, (result.output, result.exception)
        return json.loads(result.stdout)

    def current(self) -> str:
        return self.promote("--show")["current"]["name"]


@pytest.fixture(scope="module")
def served(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("promote")
    cascade = with_reward(tiny, folder / "cascade")
    (folder / "another.onnx").write_bytes(another_reward(cascade, PLUS))
    settings = Settings(
        cascade=cascade.folder,
        placement="inline",
        ingress_replicas=2,
        admin_token=SecretStr(f"anna:{TOKEN}"),
        energy=EnergySettings(ledger=folder / "ledger.sqlite"),
    )
    with live(settings, folder / "state") as app:
        yield Served(app, folder)


def by_new(one: Asked) -> bool:
    return one.reward is not None and one.reward > PLUS / 2


def switched(asking: Asking, at_s: float, new: bool) -> float:
    """Seconds after `at_s` at which the last request was sent that the other model decided. No version is of both."""
    time.sleep(WITHIN_S + 2 * SLOW_S)
    decided = [one for one in asking.since(at_s) if one.reward is not None]
    assert asking.faults() == []
    assert not any(one.degraded for one in decided)
    late = [one for one in decided if by_new(one) != new and one.at_s > at_s + WITHIN_S + SLOW_S]
    assert late == []
    assert decided[-1].at_s > at_s + WITHIN_S + SLOW_S
    versions = [{one.version for one in decided if by_new(one) is of} for of in (False, True)]
    assert versions[0].isdisjoint(versions[1])
    return max((one.at_s for one in decided if by_new(one) != new), default=at_s) - at_s


def test_another_model_predicts_within_two_windows_and_no_request_fails_on_the_way_and_back(
    served: Served, tiny: TinyCascade
) -> None:
    first = served.current()
    with Asking(served.app.url, tiny.user_ids.tolist(), RATE) as asking:
        until(lambda: len(asking.asked) > RATE)
        assert not any(by_new(one) for one in asking.asked)
        at_s = time.monotonic()
        told = served.promote(str(served.folder / "another.onnx"))
        took_s = switched(asking, at_s, new=True)
        assert told["previous"]["name"] == first
        assert (told["current"]["author"], told["current"]["own"]) == ("anna", False)
        policy = httpx.get(f"{served.app.url}/v1/policy").json()
        assert policy["reward_model"] == told["current"]["name"] == served.current()
        at_s = time.monotonic()
        assert served.promote("--back")["current"]["name"] == first
        back_s = switched(asking, at_s, new=False)
    print(f"switched {took_s:.2f} s after it was asked for, and back {back_s:.2f} s")


def test_a_controller_and_an_ingress_replica_that_are_killed_go_on_with_what_was_promoted(
    served: Served, tiny: TinyCascade
) -> None:
    name = served.promote(str(served.folder / "another.onnx"))["current"]["name"]
    with Asking(served.app.url, tiny.user_ids.tolist(), RATE) as asking:
        until(lambda: len(asking.asked) > RATE)
        time.sleep(WITHIN_S + SLOW_S)
        at_s, version = time.monotonic(), asking.asked[-1].version
        kill(replicas_of(served.app, CONTROLLER)[0])
        gone = {one.pid for one in replicas_of(served.app, "ingress")[:1]}
        kill(replicas_of(served.app, "ingress")[0])
        until(lambda: (one := asking.asked[-1]).version is not None and one.version > version)
        until(lambda: len([one for one in replicas_of(served.app, "ingress") if one.pid not in gone]) == 2)
        until(lambda: served.current() == name)
        time.sleep(WITHIN_S + SLOW_S)
        decided = [one for one in asking.since(at_s) if one.reward is not None]
    assert len(decided) > RATE
    assert all(by_new(one) for one in decided)
    assert len(asking.faults()) <= RATE / 10, "but for what the killed replica held"
