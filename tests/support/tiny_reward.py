"""A reward model for the tiny cascade, and policies for it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from fake_time import FakeTime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tiny_cascade import TinyCascade

from allocator.arms import Assignment
from allocator.chains import ChainSpace
from allocator.policy import Policy
from allocator.reward import RewardModel
from cluster.accounts import Report
from cluster.deciding import Allocation, LocalDecider
from cluster.follower import Follower, Tie
from cluster.outcomes.recorder import Recorder
from cluster.promotion.adopting import Loaded, Models
from cluster.snapshot import Answer, Snapshot, Standing
from cluster.tally import Tally
from cluster.work import Workbook
from models.errors import TryAgain
from models.loading import Cascade

REWARD_FILE = "reward.onnx"
MODEL = "reward.onnx@tiny"
SAFE = "dot>skip>skip"


def space_of(tiny: TinyCascade) -> ChainSpace:
    cascade = Cascade.open(tiny.folder)
    return ChainSpace(cascade.spec, len(cascade.items))


def with_reward(tiny: TinyCascade, folder: Path, seed: int = 3) -> TinyCascade:
    """A copy of the cascade whose requests earn more from dearer chains, each user in another measure."""
    copy = tiny.copy_to(folder)
    space = space_of(copy)
    width = copy.user_features.shape[1] + copy.history.shape[1]
    rng = np.random.default_rng(seed)
    share = space.flops / space.flops.max()
    weights = rng.uniform(0.0, 0.2, (width, 1)) * (1 - np.exp(-3 * share))[None, :]
    float_users = copy.user_features.dtype == np.float32
    onnx.save(_model(weights.astype(np.float32), share.astype(np.float32), float_users), copy.folder / REWARD_FILE)
    copy.edit(lambda document: document.update(reward={"file": REWARD_FILE, "sha256": "0" * 64}))
    copy.rehash()
    return copy


def another_reward(tiny: TinyCascade, plus: float = 100.0) -> bytes:
    """A model that predicts so much more, and for which the cheapest chain is the best."""
    space = space_of(tiny)
    width = tiny.user_features.shape[1] + tiny.history.shape[1]
    bias = plus - space.flops / space.flops.max()
    float_users = tiny.user_features.dtype == np.float32
    model = _model(np.zeros((width, len(space)), np.float32), bias.astype(np.float32), float_users)
    content: bytes = model.SerializeToString()
    return content


def shifted(content: bytes, plus: float) -> bytes:
    """A reward model that predicts so much more for every chain, and so decides alike."""
    model = onnx.load_model_from_string(content)
    model.graph.node.append(helper.make_node("Add", ["reward", "plus"], ["more"]))
    model.graph.initializer.append(numpy_helper.from_array(np.array(plus, np.float32), "plus"))
    for node in model.graph.node[:-1]:
        node.output[:] = ["before" if name == "reward" else name for name in node.output]
        node.input[:] = ["before" if name == "reward" else name for name in node.input]
    model.graph.node[-1].input[0], model.graph.node[-1].output[0] = "before", "reward"
    result: bytes = model.SerializeToString()
    return result


def looking_up(content: bytes, items: int) -> bytes:
    """A reward model that predicts the same, and looks the history's newest item up in a table of so many, as exported
    ones do."""
    model = onnx.load_model_from_string(content)
    graph = model.graph
    for node in graph.node:
        node.output[:] = ["before" if name == "reward" else name for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "newest"))
    graph.initializer.append(numpy_helper.from_array(np.zeros(items + 1, np.float32), "table"))
    graph.node.append(helper.make_node("Gather", ["context", "newest"], ["entry"], axis=1))
    graph.node.append(helper.make_node("Cast", ["entry"], ["code"], to=TensorProto.INT64))
    graph.node.append(helper.make_node("Gather", ["table", "code"], ["looked_up"]))
    graph.node.append(helper.make_node("Add", ["before", "looked_up"], ["reward"]))
    result: bytes = model.SerializeToString()
    return result


def _model(weights: NDArray[np.float32], bias: NDArray[np.float32], float_users: bool) -> onnx.ModelProto:
    kind = TensorProto.FLOAT if float_users else TensorProto.INT64
    nodes = [
        helper.make_node("Cast", ["context"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["floats", "weights"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["reward"]),
    ]
    inputs = [helper.make_tensor_value_info("context", kind, ["rows", weights.shape[0]])]
    outputs = [helper.make_tensor_value_info("reward", TensorProto.FLOAT, ["rows", weights.shape[1]])]
    tensors = [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(bias, "bias")]
    graph = helper.make_graph(nodes, "reward", inputs, outputs, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def policy_of(space: ChainSpace, version: int = 1, price: float = 0.0, model: str = MODEL) -> Policy:
    return Policy(
        version=version,
        time_s=0.0,
        prices=np.array([price]),
        costs=space.flops[:, None],
        available=np.ones(len(space), bool),
        reward_model=model,
        safe_chain=next(chain.index for chain in space if chain.id == SAFE),
    )


def snapshot_of(space: ChainSpace, version: int = 1, price: float = 0.0, model: str = MODEL) -> Snapshot:
    standing = Standing("flops", "flops", "FLOP/s", 1e6, 5e5, price, 1e6, 5e5)
    return Snapshot(policy_of(space, version, price, model), (standing,))


class NobodyThere:
    """A desk without a controller."""

    async def report(self, report: Report) -> Answer:
        raise TryAgain("nobody there")


def fixed(model: RewardModel) -> Models:
    """What predicts where nobody has another model to give."""

    async def nobody(name: str) -> bytes:
        raise TryAgain(name)

    return Models(Loaded(MODEL, model), nobody, lambda content, name: model)


@contextmanager
def open_allocation(
    tiny: TinyCascade, time: FakeTime | None = None, share: float | None = None, recorded: bool = False
) -> Iterator[Allocation]:
    """An allocation that decides in this process; tests set its follower's snapshot.

    share     of the users that is held back; None for no experiment
    recorded  whether it remembers what is answered
    """
    cascade, space = Cascade.open(tiny.folder), space_of(tiny)
    models = fixed(RewardModel.open(tiny.folder, cascade.spec, space))
    tally = Tally(len(space), 16, np.random.default_rng(0), Workbook("here/cpu"))
    tie = Tie("replica", len(space), MODEL, 1.0, 10.0)
    follower = Follower(tie, tally, NobodyThere(), time or FakeTime(), models=models)
    safe = space.get(SAFE)
    assert safe is not None
    with ThreadPoolExecutor(1) as threads:
        decider = LocalDecider(models, follower, tally, threads, rng=np.random.default_rng(1))
        experiment = None if share is None else Assignment(share, "salt")
        recorder = Recorder(space, time or FakeTime(), contexts=True) if recorded else None
        yield Allocation(decider, tally, follower, safe, experiment, recorder)
