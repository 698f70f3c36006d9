"""The hand-built graph of an ensemble gives PyTorch's rewards, for any cascade, in few nodes."""

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from models.session import Session  # noqa: E402
from models.training.graph_builder import LARGE, GraphBuilder, floats  # noqa: E402
from models.training.reward_fit import predict  # noqa: E402
from models.training.reward_graph import reward_graph  # noqa: E402
from models.training.reward_net import Ensemble, RewardNet  # noqa: E402
from models.training.reward_shape import ChainShape, ContextShape, StageShape  # noqa: E402

pytestmark = pytest.mark.train

ITEMS, HISTORY = 40, 5
USERS = st.sampled_from([((3, None, 7), (True, False, False)), ((4,), (False,)), ((None, None), (False, True))])
"""Codes of each user column, None for numbers; which columns hold levels."""
DESCRIBED = st.sampled_from([((), ()), ((9,), (True,)), ((200, 5, 3, 8), (False, False, True, False))])
"""Codes of each item column; which columns hold levels."""
STAGES = st.lists(st.tuples(st.integers(1, 3), st.booleans()), min_size=1, max_size=4)
"""Variants of each stage, and whether it may be skipped."""


class Case:
    """An ensemble with random weights and statistics, over random shapes."""

    def __init__(self, seed: int, users, described, stages, members: int) -> None:
        self.rng = rng = np.random.default_rng(seed)
        sizes, ordered = described
        codes = rng.integers(0, sizes, (ITEMS + 1, len(sizes))).astype(np.uint8)
        self.shape = ContextShape(*users, HISTORY, sizes, ordered, codes)
        made = tuple(StageShape(variants, skippable, (2, 4), free=False) for variants, skippable in stages)
        leaves = int(np.prod([stage.ways for stage in made]))
        leaf = rng.integers(0, leaves, 12)
        features = np.concatenate([np.ones((12, 1)), rng.integers(0, 3, (12, 5)) / 2], axis=1).astype(np.float32)
        chains = ChainShape(made, leaf, features, np.array([False, True, True, False, True, True]))
        torch.manual_seed(seed)
        self.ensemble = Ensemble([self._member(chains) for _ in range(members)]).eval()

    def contexts(self, rows: int, kind: type) -> np.ndarray:
        columns = [self.rng.integers(0, 9 if codes is None else codes, rows) for codes in self.shape.users]
        history = self.rng.integers(0, ITEMS + 1, (rows, HISTORY))
        history[0] = 0
        return np.concatenate([np.stack(columns, axis=1), history], axis=1).astype(kind)

    def _member(self, chains: ChainShape) -> RewardNet:
        network = RewardNet(self.shape, chains)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.3)
            for name in ("level", "spread", "shrink", "centre"):
                getattr(network, name).uniform_(0.5, 1.5)
            network.encoder.norm.running_mean.normal_()
            network.encoder.norm.running_var.uniform_(0.5, 2.0)
        return network

    def opened(self, folder: Path, *, integers: bool, most: int = 10**6) -> Session:
        model = reward_graph(list(self.ensemble.members), integers=integers, most=most)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, folder / "reward.onnx")
        return Session.open(folder / "reward.onnx")


@settings(max_examples=25)
@given(st.integers(0, 10_000), USERS, DESCRIBED, STAGES, st.integers(1, 3), st.booleans(), st.sampled_from([0, 10**6]))
def test_it_gives_pytorchs_rewards(tmp_path_factory, seed, users, described, stages, members, integers, most) -> None:
    case = Case(seed, users, described, stages, members)
    session = case.opened(tmp_path_factory.mktemp("graph"), integers=integers, most=most)
    for rows in (1, 3):
        contexts = case.contexts(rows, np.int64 if integers else np.float32)
        expected = predict(case.ensemble, contexts)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(session.run({"context": contexts}), expected, rtol=0, atol=1e-5 * scale)


def test_fractions_among_a_users_numbers_are_kept(tmp_path: Path) -> None:
    case = Case(1, ((None, 3), (False, False)), ((5,), (False,)), [(2, False), (2, True)], 2)
    contexts = case.contexts(4, np.float32)
    contexts[:, 0] = [0.25, -1.5, 0.75, 3.0]
    found = case.opened(tmp_path, integers=False).run({"context": contexts})
    np.testing.assert_allclose(found, predict(case.ensemble, contexts), rtol=1e-4, atol=1e-4)


def test_a_member_more_costs_no_node_and_a_cascade_of_three_stages_few() -> None:
    users, described = ((4, 9), (False, True)), ((24, 9), (False, True))
    stages = [(2, False), (2, False), (3, True)]
    models = [
        reward_graph(list(Case(0, users, described, stages, members).ensemble.members), integers=True)
        for members in (1, 3)
    ]
    one, three = (len(model.graph.node) for model in models)
    assert one == three <= 80


def test_equal_constants_are_stored_once_and_large_ones_halved_where_that_is_exact() -> None:
    graph = GraphBuilder()
    exact, rough = np.arange(LARGE) / 2, np.arange(LARGE) / 3
    first, again, other = (graph.constant(floats(values)) for values in (exact, exact.copy(), rough))
    assert first == again != other
    tensors = graph.model({"x": (onnx.TensorProto.FLOAT, 1)}, first, "y", 1).graph.initializer
    assert [tensor.data_type for tensor in tensors] == [onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT]
