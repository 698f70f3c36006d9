"""A tiny cascade with a deployment per variant, on a real local Serve: the runners' contract, and each stage killed."""

import asyncio
import threading
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from live import kill, live, replicas_of
from stage_runner_contract import RunnerOf, StageRunnerContract
from tiny_cascade import TinyCascade
from waiting import until

from cluster.cascade import StageRunner
from cluster.config import Settings
from cluster.launching.launch import Running
from cluster.traffic.bodies import request_bodies
from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport
from models.batch import IntArray, RaggedBatch, UserRows
from models.loading import Cascade


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture(scope="module")
def app(
    tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory, loop: asyncio.AbstractEventLoop
) -> Iterator[Running]:
    # The loop is asked for here so that it outlives the application, whose end runs code on it.
    with live(Settings(cascade=tiny.folder, placement="own"), tmp_path_factory.mktemp("state")) as running:
        yield running


class OnOneLoop:
    """A runner whose calls all go to one event loop, as in an ingress replica: Serve's router lives in the first."""

    def __init__(self, runner: StageRunner, loop: asyncio.AbstractEventLoop) -> None:
        self._runner, self._loop = runner, loop

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        call = self._runner.run(users, candidates, keep)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))


class TestRemoteRunner(StageRunnerContract):
    @pytest.fixture
    def runner(self, app: Running, loop: asyncio.AbstractEventLoop) -> RunnerOf:
        from ray import serve

        from cluster.placing import deployment_name
        from cluster.stages import RemoteRunner

        def runner_of(stage: str, variant: str) -> StageRunner:
            handle = serve.get_deployment_handle(deployment_name(stage, variant), app.instance.app)
            return OnOneLoop(RemoteRunner(handle, (stage, variant), timeout_s=30), loop)

        return runner_of


def test_own_placement_recommends_what_the_formulas_say(app: Running, tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    answer = httpx.post(f"{app.url}/v1/recommend", json={"user_id": int(tiny.user_ids[0])}, timeout=30).json()
    assert len({item["item_id"] for item in answer["items"]}) == cascade.spec.k
    assert answer["chain"]["id"] == cascade.spec.static_chain


def test_no_request_fails_when_a_replica_of_each_stage_is_killed_under_load(app: Running, tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    deployments = [part.split("@")[0] for part in cascade.spec.static_chain.split(">")]
    names = [f"{stage.name}-{variant}" for stage, variant in zip(cascade.spec.stages, deployments, strict=True)]
    bodies = request_bodies(tiny.user_ids.tolist(), seed=1)
    plan = LoadPlan(app.url, bodies, clients=8, seconds=16, timeout_s=60)
    reports: list[LoadReport] = []
    thread = threading.Thread(target=lambda: reports.append(asyncio.run(run_load(plan))))
    thread.start()
    for name in names:
        thread.join(2)
        victim = replicas_of(app, name)[0]
        kill(victim)
    thread.join(120)
    (report,) = reports
    assert (report.failed, report.errors) == (0, {})
    assert report.answered > 100


def variants_of(app: Running) -> dict[str, str]:
    """As the health check has them."""
    state: dict[str, str] = httpx.get(f"{app.url}/v1/health", timeout=30).json()["variants"]
    return state


def test_health_names_the_variant_whose_replica_is_gone(app: Running, tiny: TinyCascade) -> None:
    stage = Cascade.open(tiny.folder).spec.stages[0]
    lost = stage.variants[0].name
    until(lambda: set(variants_of(app).values()) == {"ok"}, 40)
    victim = replicas_of(app, f"{stage.name}-{lost}")[0]
    kill(victim)
    state = httpx.get(f"{app.url}/v1/health", timeout=30)
    assert state.status_code == 200, "the stage's other variant can still answer"
    assert state.json()["variants"][f"{stage.name}/{lost}"] != "ok"
    assert np.sum([text == "ok" for text in state.json()["variants"].values()]) >= len(state.json()["variants"]) - 1
