"""The graph of an ensemble gives the rewards of its members' mean, in few nodes, whatever the cascade is like."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tiny_cascade import TinyCascade

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from allocator.chains import ChainSpace  # noqa: E402
from allocator.reward import context_of  # noqa: E402
from allocator.violations import violations  # noqa: E402
from models.features import UserQuery, open_array  # noqa: E402
from models.loading import Cascade  # noqa: E402
from models.session import Session  # noqa: E402
from models.training.graph_builder import GraphBuilder, floats  # noqa: E402
from models.training.reward_fit import predict  # noqa: E402
from models.training.reward_graph import reward_graph  # noqa: E402
from models.training.reward_graph_context import MOST_HELD  # noqa: E402
from models.training.reward_net import Ensemble, RewardNet  # noqa: E402
from models.training.reward_shape import ChainShape, ContextShape  # noqa: E402

pytestmark = pytest.mark.train

Array = NDArray[Any]
MOST_NODES = 80


class Case:
    """Three members with weights, norms and scales of their own, and contexts for them."""

    def __init__(self, tiny: TinyCascade, seed: int = 0, free: tuple[str, ...] = (), bare: bool = False) -> None:
        cascade = Cascade.open(tiny.folder)
        spec, self.space = cascade.spec, ChainSpace(cascade.spec, len(cascade.items))
        features = open_array(tiny.folder, spec.tables.items.features, "", 2)
        shape = ContextShape.of(spec, features, cascade.users.history_length)
        if bare:
            shape = replace(shape, described=(), ordered=(), descriptions=shape.descriptions[:, :0])
        chains = ChainShape.of(spec, [[(a.variant, a.items) for a in chain.actions] for chain in self.space], free)
        torch.manual_seed(seed)
        self.members = [RewardNet(shape, chains).eval() for _ in range(3)]
        for member in self.members:
            _disturb(member)
        users = [UserQuery(user_id) for user_id in [*tiny.user_ids.tolist(), "nobody"]]
        self.contexts: Array = context_of(cascade.users.rows(users))

    def expected(self) -> Array:
        return predict(Ensemble(self.members), self.contexts)

    def computed(self, most: int = MOST_HELD) -> NDArray[np.float32]:
        integers = bool(np.issubdtype(self.contexts.dtype, np.integer))
        model = reward_graph(self.members, integers=integers, most=most)
        with tempfile.TemporaryDirectory() as folder:
            onnx.save(model, Path(folder) / "reward.onnx")
            return Session.open(Path(folder) / "reward.onnx").run({"context": self.contexts})


def _disturb(member: RewardNet) -> None:
    with torch.no_grad():
        for parameter in member.parameters():
            parameter.copy_(0.4 * torch.randn_like(parameter))
        norm = member.encoder.norm
        norm.running_mean.copy_(torch.randn_like(norm.running_mean))  # type: ignore[union-attr]
        norm.running_var.copy_(0.3 + torch.rand_like(norm.running_var))  # type: ignore[union-attr]
        member.centre.copy_(torch.randn_like(member.centre))
        for scale in (member.level, member.spread, member.shrink):
            scale.copy_(0.5 + torch.rand(()))


def _assert_alike(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


def test_every_kind_of_cascade_gets_the_mean_of_its_members(any_tiny: TinyCascade) -> None:
    case = Case(any_tiny)
    assert case.expected().std() > 0.1
    _assert_alike(case.computed(), case.expected())


@pytest.mark.parametrize("free", [("prerank",), ("rank",), ("prerank", "rank")])
def test_stages_may_be_free(tiny: TinyCascade, free: tuple[str, ...]) -> None:
    case = Case(tiny, free=free)
    _assert_alike(case.computed(), case.expected())


def test_items_may_be_described_by_nothing(tiny: TinyCascade) -> None:
    case = Case(tiny, bare=True)
    _assert_alike(case.computed(), case.expected())


def test_items_rows_put_together_for_each_request_are_the_same(tiny: TinyCascade) -> None:
    case = Case(tiny)
    _assert_alike(case.computed(most=0), case.computed())


def test_one_request_gets_what_it_gets_among_others(tiny: TinyCascade) -> None:
    case = Case(tiny)
    together = case.computed()
    case.contexts = case.contexts[1:2]
    _assert_alike(case.computed(), together[1:2])


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000))
def test_rewards_of_the_graph_rise_in_every_item_number(tiny: TinyCascade, seed: int) -> None:
    case = Case(tiny, seed)
    rewards = case.computed().astype(np.float64)
    assert all(one.fall <= 1e-5 * max(1.0, np.abs(rewards).max()) for one in violations(case.space, rewards))


def test_an_ensemble_takes_few_nodes(tiny: TinyCascade) -> None:
    assert len(reward_graph(Case(tiny).members, integers=True).graph.node) <= MOST_NODES


def test_equal_constants_are_stored_once_and_large_exact_halves_as_such() -> None:
    graph = GraphBuilder()
    exact, rough = floats(np.arange(2048)), floats(np.arange(2048) / 3)
    assert graph.constant(exact) == graph.constant(exact.copy()) != graph.constant(rough)
    graph.add("Add", graph.add("Add", "x", exact), rough)
    model = graph.model({"x": (1, 2048)}, graph.add("Add", "x", exact), "y", 2048)
    assert [tensor.data_type for tensor in model.graph.initializer] == [10, 1]
