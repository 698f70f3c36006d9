"""A deployment per variant on a real local Serve: replicas lost under load, a stage without any, variants gone cold."""

import time
from collections.abc import Iterator

import httpx
import pytest
from asking import Asking
from live import kill, live, replicas_of
from tiny_cascade import TinyCascade, variant
from tiny_reward import space_of, with_reward
from waiting import until

from cluster.autoscale_settings import AutoscaleSettings
from cluster.config import AllocatorSettings, Settings
from cluster.launching.launch import Running

WINDOW_S = 1.0
CALM, RUSH = 4.0, 80.0
"""Requests a second at which the dearest chain is within the limit, and at which only the cheapest one is."""
PATIENT_MS = 2e3
"""A replica that starts takes all of a small machine: that decisions are late then is not what is tested here."""
SELDOM_S = 5.0
"""A variant that is not called for so long goes. Few requests a second may take one now and then, and the request that
comes when it has just gone takes another chain, which is not what is tested here either."""


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    """Its chains' costs lie within one order of magnitude, so that traffic alone can price all but the cheapest out."""
    folder = tmp_path_factory.mktemp("reward")
    cheaper = tiny.copy_to(folder / "cheaper")
    cheaper.edit(lambda document: variant(document, "fine").update(flops={"row": 200, "item": 20}))
    return with_reward(cheaper, folder / "cascade")


@pytest.fixture(scope="module")
def app(rewarded: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    flops = space_of(rewarded).flops
    limit = 1.5 * CALM * flops.max()
    assert flops.min() * RUSH > limit, "or the rush is none"
    settings = Settings(
        cascade=rewarded.folder,
        placement="own",
        allocator=AllocatorSettings(flops_per_s=limit, expected_rps=CALM, window_s=WINDOW_S, timeout_ms=PATIENT_MS),
        autoscale=AutoscaleSettings(enabled=True, upscale_delay_s=0, downscale_delay_s=SELDOM_S, look_back_s=2),
    )
    with live(settings, tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
def client(app: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=30) as client:
        yield client


def masked(client: httpx.Client) -> set[str]:
    """The chains that may not be taken."""
    response = client.get("/v1/policy")
    assert response.status_code == 200, response.text
    return set(response.json()["masked"])


def using(tiny: TinyCascade, name: str) -> set[str]:
    """The chains that call the variant."""
    return {chain.id for chain in space_of(tiny) if name in {action.variant for action in chain.actions}}


def dearest(tiny: TinyCascade) -> str:
    space = space_of(tiny)
    return space.chains[int(space.flops.argmax())].id


def test_a_variant_whose_replicas_die_leaves_the_mask_and_comes_back_and_no_request_fails(
    app: Running, client: httpx.Client, rewarded: TinyCascade
) -> None:
    lost = using(rewarded, "heavy")
    with Asking(app.url, rewarded.user_ids.tolist(), CALM) as asking:
        until(lambda: any(one.chain == dearest(rewarded) for one in asking.asked), 40)
        died_s = time.monotonic()
        for replica in replicas_of(app, "prerank-heavy"):
            kill(replica)
        until(lambda: lost <= masked(client), 2 * WINDOW_S)
        away_s = time.monotonic()
        until(lambda: not lost <= masked(client), 30)
        back_s = time.monotonic()
        until(lambda: any(one.chain in lost for one in asking.since(back_s)), 10)
    meanwhile = [one for one in asking.since(away_s) if one.at_s < back_s - WINDOW_S]
    print(f"masked after {away_s - died_s:.2f} s, back after {back_s - died_s:.2f} s")
    assert asking.faults() == []
    assert max(one.took_s for one in asking.since(died_s)) < 2 * WINDOW_S
    assert meanwhile
    assert not any(one.chain in lost for one in meanwhile)


def test_a_stage_without_any_replica_is_said_at_once_and_is_back_with_its_replicas(
    app: Running, client: httpx.Client, rewarded: TinyCascade
) -> None:
    with Asking(app.url, rewarded.user_ids.tolist(), 2 * CALM) as asking:
        until(lambda: any(one.status == 200 for one in asking.asked), 10)
        died_s = time.monotonic()
        for replica in replicas_of(app, "recall-dot") + replicas_of(app, "recall-seq"):
            kill(replica)
        until(lambda: any(one.status == 503 for one in asking.asked), 5)
        refused_s = until(lambda: client.get("/v1/policy").json()["available"] == 0, 2 * WINDOW_S)
        until(lambda: any(one.status == 200 for one in asking.since(time.monotonic() - 0.5)), 40)
        until(lambda: client.get("/v1/policy").json()["available"] > 0, 10)
    refused = asking.faults()
    print(
        f"nothing available after {refused_s:.2f} s; {len(refused)} refused, slowest {max(r.took_s for r in refused)}"
    )
    assert {one.status for one in refused} == {503}
    assert all(int(str(one.retry_after)) >= 1 for one in refused)
    assert max(one.took_s for one in asking.since(died_s)) < 2 * WINDOW_S


def test_variants_that_are_priced_out_go_cold_and_are_warm_before_they_are_used_again(
    app: Running, client: httpx.Client, rewarded: TinyCascade
) -> None:
    dear = using(rewarded, "seq")
    with Asking(app.url, rewarded.user_ids.tolist(), CALM) as before:
        until(lambda: any(one.chain in dear for one in before.asked), 40)
    with Asking(app.url, rewarded.user_ids.tolist(), RUSH) as rush:
        cold_s = until(lambda: not replicas_of(app, "recall-seq"), 40)
        until(lambda: dear <= masked(client), 3 * WINDOW_S)
        health = client.get("/v1/health")
    assert (health.status_code, health.json()["variants"]["recall/seq"]) == (200, "cold")
    assert replicas_of(app, "recall-dot"), "the cheapest chain can always run"
    with Asking(app.url, rewarded.user_ids.tolist(), CALM) as calm:
        start_s = time.monotonic()
        until(lambda: bool(replicas_of(app, "recall-seq")), 40)
        started_s = time.monotonic()
        until(lambda: not dear <= masked(client), 20)
        warm_s = time.monotonic()
        until(lambda: any(one.chain in dear for one in calm.since(warm_s)), 10)
    print(
        f"cold after {cold_s:.1f} s, asked for after {started_s - start_s:.1f} s, there {warm_s - started_s:.1f} s on"
    )
    assert rush.faults() + calm.faults() == []
    degraded = [(one.at_s - start_s, one.took_s, one.chain) for one in calm.asked if one.degraded]
    wanted = [one.at_s - start_s for one in calm.asked if one.chain in dear]
    assert degraded == [], (
        f"a replica after {started_s - start_s}, there after {warm_s - start_s}, dear chains {wanted}"
    )
    assert max(one.took_s for one in calm.asked) < 2 * WINDOW_S
