"""One request as POST /v1/trace explains it, of a cascade that is made up."""

import math
import random
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
RECALL = {"tower-s": 0.003, "tower-l": 0.008}
PRERANK = {"ydnn-s": 1.6e-5, "ydnn-l": 6e-5}
RANK = {"mlp": 2e-4, "din": 1.1e-3, "dien": 4.6e-3}
VALUE = {
    "tower-s": 0.86,
    "tower-l": 1.0,
    "ydnn-s": 0.93,
    "ydnn-l": 1.0,
    "mlp": 0.93,
    "din": 0.965,
    "dien": 1.0,
    "": 0.8,
}
STATIC = ("tower-l", "ydnn-l", 400, "dien", 160)
G_PER_J = 312 * 1.25 / 3.6e6
FLOPS_PER_J = 5e7
Chain = tuple[str, str, int, str, int]


def chains() -> Iterator[Chain]:
    for recall in RECALL:
        for prerank in PRERANK:
            for kept in (50, 100, 200, 400):
                yield recall, prerank, kept, "", 0
                for rank in RANK:
                    yield from ((recall, prerank, kept, rank, items) for items in (20, 40, 80, 160) if items <= kept)


def joules(chain: Chain) -> list[float]:
    recall, prerank, kept, rank, items = chain
    return [RECALL[recall], kept * PRERANK[prerank], items * RANK.get(rank, 0.0)]


def reward(chain: Chain, taste: float) -> float:
    recall, prerank, kept, rank, items = chain
    breadth = 1 - 0.5 * math.exp(-kept / 90) - 0.45 * math.exp(-(items or 8) / (20 * taste))
    return 6.4 * VALUE[recall] * VALUE[prerank] * VALUE[rank] * breadth


def trace(user_id: int | str, price: float, decides: bool, quality: str = "modelled", known: bool = True) -> Document:
    """price  reward per joule"""
    draw = random.Random(f"user {user_id}")
    taste = draw.uniform(0.6, 1.8)
    listed = [_listed(chain, reward(chain, taste), price, quality) for chain in chains()]
    for one in listed[7:9]:
        one["available"] = False
    best = max((one for one in listed if one["available"]), key=lambda one: one["net"])
    chosen = best if decides else next(one for one in listed if one["static"])
    chosen["chosen"] = True
    listed.sort(key=lambda one: -one["net"])
    found = [{"item_id": draw.randrange(8000), "score": 0.94 - 0.03 * place} for place in range(10)]
    return {
        "user_id": user_id,
        "user_known": known,
        "request_id": f"{draw.getrandbits(64):016x}",
        "policy_version": 17954731390 if decides else None,
        "degraded": False,
        "took_ms": 6.42,
        "chain": {key: chosen[key] for key in ("id", "stages")},
        "cost": chosen["cost"],
        "predicted_reward": chosen["reward"] if decides else None,
        "net": chosen["net"] if decides else None,
        "prices": [{"constraint": "cap", "unit": "J", "price": price}] if decides and price else [],
        "stages": _stages(chosen, draw),
        "items": found,
        "chains": listed if decides else [],
        "chains_in_all": len(listed),
    }


def _listed(chain: Chain, earns: float, price: float, quality: str) -> Document:
    recall, prerank, kept, rank, items = chain
    energy_j = sum(joules(chain))
    parts = [recall, f"{prerank}@{kept}", f"{rank}@{items}" if rank else "-"]
    return {
        "id": ">".join(parts),
        "stages": [
            {"stage": "recall", "variant": recall, "items": 8000},
            {"stage": "prerank", "variant": prerank, "items": kept},
            {"stage": "rank", "variant": rank or None, "items": items},
        ],
        "reward": earns,
        "cost": {
            "flops": energy_j * FLOPS_PER_J,
            "energy_j": energy_j,
            "co2e_g": energy_j * G_PER_J,
            "quality": quality,
        },
        "priced": price * energy_j,
        "net": earns - price * energy_j,
        "available": True,
        "chosen": False,
        "static": chain == STATIC,
    }


def _stages(chosen: Document, draw: random.Random) -> list[Document]:
    recall, prerank, rank = chosen["stages"]
    spent = joules((recall["variant"], prerank["variant"], prerank["items"], rank["variant"] or "", rank["items"]))
    leaving = [prerank["items"], rank["items"] or 10, 10]
    told = []
    for stage, energy_j, out in zip(chosen["stages"], spent, leaving, strict=True):
        runs = stage["variant"] is not None
        best = [{"item_id": draw.randrange(8000), "score": 0.9 - 0.02 * place} for place in range(5)]
        told.append(
            {
                "stage": stage["stage"],
                "variant": stage["variant"],
                "items_in": stage["items"] if runs else 10,
                "items_out": out,
                "energy_j": energy_j if runs else None,
                "took_ms": 0.4 + 9 * energy_j if runs else None,
                "best": best if runs else [],
            }
        )
    return told
