"""The chain space against a brute-force enumeration, over random layouts of stages."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cascade import TinyCascade, chain_ids

from allocator import chains
from allocator.chains import ChainSpace
from models.checking import check_cascade
from models.errors import FixFile
from models.spec import CascadeSpec

CATALOGUE = 1000
HASH = "0" * 64
REF = {"file": "f", "sha256": HASH}
TABLE = {"ids": REF, "features": REF, "columns": [{"name": "c", "codes": 2}]}
TABLES = {"users": {**TABLE, "history": REF, "cold": [0]}, "items": TABLE}


def layout_to_spec(k: int, layout: list[dict], static: str | None = None) -> CascadeSpec:
    """A spec of these stages: {"variants": n, "items": [...], "skippable": bool}; recall is the first."""
    stages = []
    for at, stage in enumerate(layout):
        variants = [
            {
                "name": f"v{at}-{n}",
                "model": REF,
                "flops": {"row": 1000 * at + n, "item": 10 * at + n + 1},
                **({"index": REF} if at == 0 else {}),
            }
            for n in range(stage["variants"])
        ]
        scorer = {"items": stage["items"], "skippable": stage["skippable"]} if at else {}
        stages.append({"name": f"s{at}", "variants": variants, **scorer})
    document = {"format": 1, "name": "c", "k": k, "tables": TABLES, "stages": stages}
    return CascadeSpec.model_validate({**document, "static_chain": static or plainest(layout)})


def plainest(layout: list[dict]) -> str:
    """A chain that is always valid: the first variant of each stage with the smallest number that all can take."""
    numbers = []
    most = CATALOGUE
    for stage in layout[1:]:
        fitting = [n for n in stage["items"] if n <= most]
        numbers.append(max(fitting, default=None))
        most = numbers[-1] or most
    parts = ["v0-0"]
    for at, number in enumerate(numbers, start=1):
        parts.append("skip" if number is None else f"v{at}-0@{number}")
    return ">".join(parts)


@st.composite
def layouts(draw: st.DrawFn) -> tuple[int, list[dict]]:
    k = draw(st.integers(1, 5))
    layout: list[dict] = [{"variants": draw(st.integers(1, 3))}]
    least = CATALOGUE
    for _ in range(draw(st.integers(0, 3))):
        items = draw(st.sets(st.integers(k, 30), min_size=1, max_size=3).map(sorted))
        # A stage that could never take what the one before hands on must be skippable, or no chain is valid.
        skippable = draw(st.booleans()) or items[0] > least
        least = min(least, items[0])
        layout.append({"variants": draw(st.integers(1, 2)), "items": items, "skippable": skippable})
    return k, layout


def brute_force(k: int, layout: list[dict]) -> list[str]:
    """Ids of all valid chains: every combination, kept when its item numbers fit."""
    options = [[(f"v0-{n}", CATALOGUE) for n in range(layout[0]["variants"])]]
    for at, stage in enumerate(layout[1:], start=1):
        actions = [(f"v{at}-{n}@{items}", items) for n in range(stage["variants"]) for items in stage["items"]]
        options.append(actions + ([("skip", None)] if stage["skippable"] else []))
    found = []
    for actions in product(*options):
        numbers = [items for _, items in actions if items is not None]
        if numbers == sorted(numbers, reverse=True) and all(n >= k for n in numbers):
            found.append(">".join(name for name, _ in actions))
    return found


@settings(deadline=None)
@given(layouts())
def test_the_space_holds_exactly_the_valid_chains_in_the_order_of_the_file(case: tuple[int, list[dict]]) -> None:
    k, layout = case
    space = ChainSpace(layout_to_spec(k, layout), CATALOGUE)
    assert [chain.id for chain in space] == brute_force(k, layout)
    assert len(space) == len(space.chains) == len(space.flops)


@settings(deadline=None)
@given(layouts())
def test_item_numbers_never_grow_and_never_fall_below_k(case: tuple[int, list[dict]]) -> None:
    k, layout = case
    for chain in ChainSpace(layout_to_spec(k, layout), CATALOGUE):
        numbers = [action.items for action in chain.actions if action.variant is not None]
        assert numbers[0] == CATALOGUE
        assert numbers == sorted(numbers, reverse=True)
        assert min(numbers) >= k
        assert [action.stage for action in chain.actions] == [f"s{at}" for at in range(len(layout))]


@settings(deadline=None)
@given(layouts())
def test_ids_are_unique_lead_back_to_their_chain_and_stay_the_same(case: tuple[int, list[dict]]) -> None:
    spec = layout_to_spec(*case)
    space, again = ChainSpace(spec, CATALOGUE), ChainSpace(spec, CATALOGUE)
    assert len({chain.id for chain in space}) == len(space)
    assert space.chains == again.chains
    for index, chain in enumerate(space):
        assert chain.index == index
        assert space.get(chain.id) is chain
        assert space.problem(chain.id) is None


@settings(deadline=None)
@given(layouts())
def test_flops_are_those_of_the_actions_added_up(case: tuple[int, list[dict]]) -> None:
    spec = layout_to_spec(*case)
    space = ChainSpace(spec, CATALOGUE)
    for chain in space:
        total = 0
        for stage, action in zip(spec.stages, chain.actions, strict=True):
            if action.variant is not None:
                flops = stage.variant(action.variant).flops
                assert flops is not None
                total += flops.row + flops.item * action.items
        assert chain.flops == total == space.flops[chain.index]


@settings(deadline=None)
@given(layouts(), st.integers(0, 1000))
def test_costs_by_resource_are_those_of_the_actions_added_up(case: tuple[int, list[dict]], seed: int) -> None:
    spec = layout_to_spec(*case)
    space = ChainSpace(spec, CATALOGUE)
    row, item = np.random.default_rng(seed).random((2, len(space.variants), 3))
    found = space.costs(row, item)
    assert found.shape == (len(space), 3)
    for chain in space:
        total = np.zeros(3)
        for action in chain.actions:
            if action.variant is not None:
                at = space.variants.index((action.stage, action.variant))
                total += row[at] + item[at] * action.items
        np.testing.assert_allclose(found[chain.index], total)


def test_flops_are_one_resource(tiny: TinyCascade) -> None:
    cascade = check_cascade(tiny.folder)
    space = ChainSpace(cascade.spec, len(cascade.items))
    flops = [variant.flops for stage in cascade.spec.stages for variant in stage.variants]
    row, item = (np.array([[getattr(f, part)] for f in flops], dtype=float) for part in ("row", "item"))
    np.testing.assert_array_equal(space.costs(row, item)[:, 0], space.flops)


def test_thousands_of_chains_are_no_problem() -> None:
    layout = [{"variants": 5}, *({"variants": 5, "items": [10, 20, 30, 40], "skippable": True} for _ in range(3))]
    space = ChainSpace(layout_to_spec(3, layout), CATALOGUE)
    assert (
        len(space)
        == len(space.flops)
        == len({chain.id for chain in space})
        == 5 * (1 + 3 * 5 * 4 + 3 * 25 * 10 + 125 * 20)
    )


def test_millions_of_chains_are_refused_before_any_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "ActionChain", None)
    layout = [{"variants": 9}, *({"variants": 9, "items": list(range(5, 25)), "skippable": True} for _ in range(9))]
    with pytest.raises(FixFile, match=r"cascade\.yaml: stages: they make [0-9,]{12,} chains, at most 100,000"):
        ChainSpace(layout_to_spec(3, layout), CATALOGUE)


@settings(deadline=None)
@given(layouts(), st.data())
def test_any_combination_that_is_no_chain_is_explained(case: tuple[int, list[dict]], data: st.DataObject) -> None:
    k, layout = case
    space = ChainSpace(layout_to_spec(k, layout), CATALOGUE)
    parts = st.sampled_from(["v0-0", "v1-0@5", "v1-0", "v2-1@30", "skip", "v0-0@1000", "", "v1-0@x", "none"])
    chain_id = ">".join(data.draw(st.lists(parts, min_size=1, max_size=5)))
    if chain_id in brute_force(k, layout):
        assert space.problem(chain_id) is None
    else:
        assert space.get(chain_id) is None
        problem = space.problem(chain_id)
        assert problem is not None
        assert repr(chain_id) in problem


def test_the_chains_of_the_tiny_cascade_are_those_written_by_hand(tiny: TinyCascade) -> None:
    cascade = check_cascade(tiny.folder)
    space = ChainSpace(cascade.spec, len(cascade.items))
    assert [chain.id for chain in space] == chain_ids()
    assert space.static.id == cascade.spec.static_chain


LAYOUT = [
    {"variants": 2},
    {"variants": 1, "items": [10, 20], "skippable": True},
    {"variants": 2, "items": [5, 20], "skippable": False},
]


@pytest.mark.parametrize(
    ("chain_id", "words"),
    [
        ("v0-0>v1-0@10", "has 2 actions; a chain here has 3: s0>s1>s2"),
        ("v0-0>v1-0@10>v2-0@5>v2-0@5", "has 4 actions"),
        ("big>v1-0@10>v2-0@5", "stage 's0' has no variant 'big', only v0-0, v0-1"),
        ("v0-0@1000>v1-0@10>v2-0@5", "leave out @1000"),
        ("v0-0>v1-0>v2-0@5", "not none"),
        ("v0-0>v1-0@11>v2-0@5", "offers the item numbers [10, 20], not 11"),
        ("v0-0>v1-0@10>skip", "stage 's2' cannot be skipped"),
        ("skip>v1-0@10>v2-0@5", "stage 's0' cannot be skipped"),
        ("v0-0>v1-0@10>v2-0@20", "item numbers grow"),
        ("", "has 1 actions"),
    ],
)
def test_a_wrong_chain_is_explained_in_words(chain_id: str, words: str) -> None:
    problem = ChainSpace(layout_to_spec(3, LAYOUT), CATALOGUE).problem(chain_id)
    assert problem is not None
    assert words in problem


def test_a_static_chain_that_grows_is_refused() -> None:
    with pytest.raises(FixFile, match=r"cascade\.yaml: static_chain: .*item numbers grow"):
        ChainSpace(layout_to_spec(3, LAYOUT, static="v0-0>v1-0@10>v2-0@20"), CATALOGUE)


def test_a_skipped_stage_does_not_bound_what_follows() -> None:
    space = ChainSpace(layout_to_spec(3, LAYOUT), CATALOGUE)
    assert space.get("v0-0>skip>v2-0@20") is not None
