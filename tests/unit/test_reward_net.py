"""Reward networks keep their structure for random weights; ONNX agrees; a cascade takes the model whole."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper
from tiny_cascade import TinyCascade
from tiny_reward import with_reward

torch = pytest.importorskip("torch")

from click.testing import CliRunner  # noqa: E402
from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from allocator.chains import ChainSpace  # noqa: E402
from allocator.choice import Floats, Rewards  # noqa: E402
from allocator.reward import RewardModel, context_of, install  # noqa: E402
from allocator.table import Manifest, Rows, begin, cascade_digest, held_out, write_part  # noqa: E402
from allocator.violations import violations  # noqa: E402
from cluster.commands.reward_report import RewardReport  # noqa: E402
from cluster.commands.train_reward import command  # noqa: E402
from models.checking import check_cascade  # noqa: E402
from models.errors import FixFile  # noqa: E402
from models.features import UserQuery, open_array  # noqa: E402
from models.loading import Cascade  # noqa: E402
from models.session import Session  # noqa: E402
from models.training.fit import prepare  # noqa: E402
from models.training.reward_export import export_reward  # noqa: E402
from models.training.reward_fit import Examples, RewardFit, fit_reward, predict  # noqa: E402
from models.training.reward_net import Ensemble, PlainNet, RewardNet  # noqa: E402
from models.training.reward_rows import BATCH, LEFT_OUT, Earned, fit_rows  # noqa: E402
from models.training.reward_shape import ChainShape, ContextShape, StageShape  # noqa: E402

pytestmark = pytest.mark.train


class Case:
    """A cascade, its chains, and users' contexts."""

    def __init__(self, tiny: TinyCascade, free: tuple[str, ...] = ()) -> None:
        self.cascade = Cascade.open(tiny.folder)
        spec = self.cascade.spec
        self.space = ChainSpace(spec, len(self.cascade.items))
        features = open_array(tiny.folder, spec.tables.items.features, "", 2)
        self.context = ContextShape.of(spec, features, self.cascade.users.history_length)
        actions = [[(a.variant, a.items) for a in chain.actions] for chain in self.space]
        self.chains = ChainShape.of(spec, actions, free)
        users = [UserQuery(user_id) for user_id in [*tiny.user_ids.tolist(), "nobody"]]
        self.contexts = context_of(self.cascade.users.rows(users))

    def network(self, seed: int, scale: float = 1.0) -> RewardNet:
        torch.manual_seed(seed)
        network = RewardNet(self.context, self.chains)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(torch.randn_like(parameter) * scale)
        return network.eval()


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.1, 2.0))
def test_rewards_rise_and_are_concave_in_every_item_number(tiny: TinyCascade, seed: int, scale: float) -> None:
    case = Case(tiny)
    rewards = predict(case.network(seed, scale), case.contexts).astype(np.float64)
    size = 1e-5 * max(1.0, np.abs(rewards).max())
    for one in violations(case.space, rewards):
        assert one.fall <= size
        assert one.mean_fall <= size
    assert np.isfinite(rewards).all()


@settings(max_examples=10)
@given(seed=st.integers(0, 10_000), shrink=st.floats(0.0, 1.5))
def test_neither_shrinking_nor_averaging_breaks_the_structure(tiny: TinyCascade, seed: int, shrink: float) -> None:
    case = Case(tiny)
    members = [case.network(seed + n) for n in range(2)]
    for member in members:
        member.settle(torch.from_numpy(case.contexts))
        member.shrink.fill_(shrink)
    rewards = predict(Ensemble(members), case.contexts).astype(np.float64)
    assert all(one.fall <= 1e-5 * max(1.0, np.abs(rewards).max()) for one in violations(case.space, rewards))


def test_settling_changes_no_reward_and_shrinking_to_nothing_leaves_no_difference_between_users(
    tiny: TinyCascade,
) -> None:
    case = Case(tiny)
    network = case.network(5, 0.5)
    before = predict(network, case.contexts)
    network.settle(torch.from_numpy(case.contexts))
    np.testing.assert_allclose(predict(network, case.contexts), before, rtol=1e-4, atol=1e-4)
    network.shrink.fill_(0.0)
    after = predict(network, case.contexts)
    differences = after - after[:, :1]
    np.testing.assert_allclose(differences, differences[:1].repeat(len(after), axis=0), atol=1e-4)


def test_it_starts_from_the_chains_means(tiny: TinyCascade) -> None:
    case = Case(tiny)
    means = np.array([sum(np.log1p(a.items) for a in chain.actions if not a.recalls) for chain in case.space])
    for network in (RewardNet(case.context, case.chains), PlainNet(case.context, case.chains)):
        network.start(2.0, 0.5, means - means.mean())
        rewards = predict(network, case.contexts)
        differences = rewards - rewards.mean(axis=1, keepdims=True) - (means - means.mean())
        assert np.abs(differences).max() < 0.2


def test_gains_never_grow_along_a_stages_numbers(tiny: TinyCascade) -> None:
    case = Case(tiny)
    index = {chain.id: chain.index for chain in case.space}
    ladder = [index[f"seq>light@8>fine@{n}"] for n in (2, 4, 8)]
    for seed in range(20):
        rewards = predict(case.network(seed), case.contexts).astype(np.float64)[:, ladder]
        slopes = np.diff(rewards, axis=1) / np.array([2, 4])
        assert (slopes[:, 1] <= slopes[:, 0] + 1e-5 * np.abs(rewards).max()).all()


def test_a_free_stage_may_fall_and_the_others_still_rise(tiny: TinyCascade) -> None:
    case = Case(tiny, free=("prerank",))
    found = [violations(case.space, predict(case.network(seed), case.contexts)) for seed in range(10)]
    assert any(one.falls > 0 for run in found for one in run if one.stage == "prerank")
    assert all(one.fall < 1e-4 for run in found for one in run if one.stage == "rank")


def test_a_skipped_stage_contributes_nothing(tiny: TinyCascade) -> None:
    case = Case(tiny)
    skips = [
        chain.index for chain in case.space if chain.actions[1].variant is None and chain.actions[2].variant is None
    ]
    assert not case.chains.features[skips, 1:].any()


@given(st.lists(st.integers(1, 500), min_size=1, max_size=12, unique=True).map(sorted))
def test_the_basis_rises_and_is_concave(numbers: list[int]) -> None:
    basis = StageShape(1, False, tuple(numbers), free=False).basis
    slopes = np.diff(basis, axis=0) / np.diff(numbers)[:, None]
    assert ((basis >= 0) & (basis <= 1)).all()
    assert (slopes >= 0).all()
    assert (np.diff(slopes, axis=0) <= 1e-6).all()


def test_onnx_gives_the_same_rewards_and_a_cascade_takes_it(any_tiny: TinyCascade, tmp_path: Path) -> None:
    case, own = Case(any_tiny), any_tiny.copy_to(tmp_path / "own")
    network = Ensemble([case.network(3, 0.5)])
    export_reward(network, case.contexts, tmp_path / "new.onnx")
    with pytest.raises(FixFile, match="names no reward model"):
        RewardModel.open(own.folder, case.cascade.spec, case.space)
    for _ in range(2):
        install(tmp_path / "new.onnx", own.folder)
        model = RewardModel.open(own.folder, check_cascade(own.folder).spec, case.space)
    np.testing.assert_allclose(model.predict(case.contexts), predict(network, case.contexts), rtol=1e-3, atol=1e-3)
    assert not list(own.folder.glob(".*"))


def test_rewards_of_the_file_rise_in_every_item_number_where_a_stage_is_not_free(
    tiny: TinyCascade, tmp_path: Path
) -> None:
    for seed in range(5):
        for free in ((), ("prerank",)):
            case = Case(tiny, free=free)
            export_reward(
                Ensemble([case.network(seed + n, 0.4) for n in range(2)]), case.contexts, tmp_path / "new.onnx"
            )
            rewards = Session.open(tmp_path / "new.onnx").run({"context": case.contexts}).astype(np.float64)
            allowed = 1e-5 * max(1.0, np.abs(rewards).max())
            assert all(one.fall <= allowed for one in violations(case.space, rewards) if one.stage not in free)


def test_a_model_of_other_chains_is_refused(tiny: TinyCascade, tmp_path: Path) -> None:
    own = with_reward(tiny, tmp_path / "own")
    own.edit(lambda d: d["stages"][2].update(items=[2, 4]))
    spec = check_cascade(own.folder).spec
    with pytest.raises(FixFile, match=r"expected 30 chains, got rewards of shape \(2, 36\)"):
        RewardModel.open(own.folder, spec, ChainSpace(spec, 12))


def test_the_same_seed_gives_the_same_model_and_it_learns(tiny: TinyCascade) -> None:
    case = Case(tiny)
    rng = np.random.default_rng(0)
    contexts = case.contexts[rng.integers(0, len(case.contexts), 200)]
    value = np.array([np.log1p(chain.actions[2].items) for chain in case.space])
    rewards = ((1 + contexts[:, :1]) * value).astype(np.float32)
    examples = Examples(contexts, rewards, np.ones(len(case.space)))
    make = lambda: RewardNet(case.context, case.chains)  # noqa: E731
    config = RewardFit(members=2, epochs=30, seed=1)
    first, again = (predict(fit_reward(make, examples, examples, config, lambda *_: None), contexts) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert ((first - rewards) ** 2).mean() < 0.1 * rewards.var()


def test_no_batch_is_of_one_user_whose_numbers_have_no_spread(tiny: TinyCascade) -> None:
    case = Case(tiny)
    contexts = case.contexts[np.random.default_rng(0).integers(0, len(case.contexts), 9)]
    examples = Examples(contexts, np.ones((9, len(case.space)), np.float32), np.ones(len(case.space)))
    make = lambda: RewardNet(case.context, case.chains)  # noqa: E731
    config = RewardFit(members=1, epochs=1, batch=4)
    assert np.isfinite(predict(fit_reward(make, examples, examples, config, lambda *_: None), contexts)).all()


def test_what_cannot_be_learned_is_shrunk_away(tiny: TinyCascade) -> None:
    case = Case(tiny)
    rng = np.random.default_rng(0)
    contexts = case.contexts[rng.integers(0, len(case.contexts), 400)]
    value = np.array([np.log1p(chain.actions[2].items) for chain in case.space])
    rewards = (value + rng.normal(size=(400, len(value)))).astype(np.float32)
    train, valid = (
        Examples(contexts[rows], rewards[rows], np.ones(len(value))) for rows in np.split(np.arange(400), 2)
    )
    make = lambda: PlainNet(case.context, case.chains)  # noqa: E731
    network = fit_reward(make, train, valid, RewardFit(members=1, epochs=10), lambda *_: None)
    found = predict(network, case.contexts)
    personal = found - found.mean(axis=1, keepdims=True)
    assert (personal - personal.mean(axis=0)).std() < 0.15


class Logged:
    """A network that was fitted to what is believed, and rows that ran a chain at random."""

    def __init__(self, tiny: TinyCascade, changed: float, noise: float) -> None:
        self.case, self.rng = Case(tiny), np.random.default_rng(0)
        contexts = self.case.contexts[self.rng.integers(0, len(self.case.contexts), 300)]
        self.value = np.array([np.log1p(chain.actions[2].items) for chain in self.case.space])
        believed = np.repeat(self.value[None].astype(np.float32), len(contexts), axis=0)
        self.believed = Examples(contexts, believed, np.ones(len(self.value)))
        self.config = RewardFit(members=1, epochs=30, weight_decay=0.01)
        make = lambda: RewardNet(self.case.context, self.case.chains, 0.0)  # noqa: E731
        self.network = fit_reward(make, self.believed, self.believed, self.config, lambda *_: None)
        users, chains = (self.rng.integers(0, size, 20_000) for size in (len(self.case.contexts), len(self.value)))
        rewards = self.truth(changed)[users, chains] + self.rng.normal(0, noise, len(users))
        self.rows = Earned(self.case.contexts[users], chains, rewards, self.rng.uniform(0.1, 1.0, len(users)))

    def truth(self, changed: float) -> Floats:
        """What chains earn from every context (n, J): from those with a small first number, more or less of it."""
        few = self.case.contexts[:, :1] <= np.median(self.case.contexts[:, 0])
        found: Floats = self.value * np.where(few, 1.0 + changed, 1.0)
        return found

    def fit_rows(self, rows: Earned) -> Rewards:
        fit_rows(self.network, rows, self.believed, self.config, lambda *_: None, worth=3_000.0)
        return self.found

    @property
    def found(self) -> Rewards:
        return predict(self.network, self.case.contexts)


def test_what_logged_requests_earned_moves_the_network_where_what_was_believed_is_wrong(tiny: TinyCascade) -> None:
    logged = Logged(tiny, changed=0.5, noise=0.5)
    truth = logged.truth(0.5)
    before = ((logged.found - truth) ** 2).mean()
    assert ((logged.fit_rows(logged.rows) - truth) ** 2).mean() < 0.5 * before


def test_what_logged_requests_earned_moves_it_little_where_what_was_believed_is_right(tiny: TinyCascade) -> None:
    logged = Logged(tiny, changed=0.0, noise=1.5)
    before = logged.found
    assert np.sqrt(((logged.fit_rows(logged.rows) - before) ** 2).mean()) < 0.05


def test_without_logged_requests_it_stays_as_it_is(tiny: TinyCascade) -> None:
    logged = Logged(tiny, changed=0.5, noise=0.5)
    before = logged.found
    for few in (0, 1, 2):
        np.testing.assert_array_equal(logged.fit_rows(logged.rows.take(np.arange(few))), before)


def test_logged_requests_one_more_than_fill_their_batches_are_fitted_too(tiny: TinyCascade) -> None:
    logged = Logged(tiny, changed=0.5, noise=0.5)
    kept = np.cumsum(prepare(logged.config.seed, "reward rows").random(len(logged.rows)) >= LEFT_OUT)
    rows = logged.rows.take(np.arange(int(np.argmax(kept > BATCH)) + 1))
    assert np.isfinite(logged.fit_rows(rows)).all()


def test_a_file_keeps_equal_tensors_once_and_large_ones_halved(tiny: TinyCascade, tmp_path: Path) -> None:
    case = Case(tiny)
    network = case.network(0, 0.3)
    export_reward(Ensemble([network, network]), case.contexts, tmp_path / "twice.onnx")
    tensors = onnx.load(tmp_path / "twice.onnx").graph.initializer
    kept = [(t.data_type, tuple(t.dims), numpy_helper.to_array(t).tobytes()) for t in tensors]
    assert len(set(kept)) == len(kept)
    halved = sum(numpy_helper.to_array(t).size for t in tensors if t.data_type == TensorProto.FLOAT16)
    large = [p.numel() for name, p in network.named_parameters() if name.startswith("encoder.out.") and p.dim() == 2]
    assert halved >= 2 * sum(large) > 0


def test_the_command_trains_installs_and_reports(tiny: TinyCascade, tmp_path: Path) -> None:
    case, own, table = Case(tiny), tiny.copy_to(tmp_path / "own"), tmp_path / "table"
    ids = np.arange(120)
    rng = np.random.default_rng(0)
    contexts = case.contexts[rng.integers(0, len(case.contexts), len(ids))]
    rewards = rng.random((len(ids), len(case.space))).astype(np.float32)
    manifest = Manifest(
        cascade=cascade_digest(case.cascade.spec),
        world="w",
        reward="r",
        seed=0,
        users=len(ids),
        part_rows=500,
        chains=tuple(chain.id for chain in case.space),
        flops=tuple(chain.flops for chain in case.space),
    )
    begin(table, manifest)
    write_part(table, manifest, 0, Rows(ids, contexts, rewards, held_out(ids.tolist())))
    past = tmp_path / "past"
    begin(past, manifest)
    write_part(past, manifest, 0, Rows(ids, contexts, rewards, np.zeros(len(ids), dtype=bool)))
    options = [
        "--cascade",
        str(own.folder),
        "--table",
        str(table),
        "--more",
        str(past),
        "--epochs",
        "2",
        "--no-compare",
    ]
    result = CliRunner().invoke(command, options)
    assert result.exit_code == 0, result.output
    assert check_cascade(own.folder).spec.reward is not None
    report = RewardReport.model_validate_json((table / "reward-report.json").read_bytes())
    assert report.held_out_users == held_out(ids.tolist()).sum()
    learned = len(ids) - report.held_out_users
    validating = 2 * learned - report.training_contexts
    assert 0 < validating < learned
    again = CliRunner().invoke(command, [*options, "--free", "nowhere"])
    assert again.exit_code == 2


def test_items_that_nothing_describes_leave_the_users_columns_and_the_historys_length(tiny: TinyCascade) -> None:
    case = Case(tiny)
    bare = replace(case.context, described=(), ordered=(), descriptions=case.context.descriptions[:, :0])
    network = RewardNet(bare, case.chains).eval()
    assert np.isfinite(predict(network, case.contexts)).all()
