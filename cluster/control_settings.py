"""From settings to what the controller controls by: the constraint, the first price, the chain for hard times."""

import numpy as np

from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Rewards
from allocator.constraints import flops_per_second
from allocator.known_users import known_rewards
from allocator.limits import Kind
from allocator.price.select import strategy
from allocator.price.start import Start
from allocator.reward import RewardModel
from cluster.config import AllocatorSettings, Settings
from cluster.control import LEAST_ROWS, Control
from cluster.promotion.model import name_of
from models.errors import FixSetup
from models.loading import Cascade
from models.spec import CascadeSpec

START_BYTES = 64 << 20


def wants_allocator(settings: AllocatorSettings, spec: CascadeSpec) -> bool:
    """Whether a policy chooses chains. Raises FixSetup for settings that contradict themselves or the cascade."""
    remedy = "train one with `greenflow train-reward`, or leave the allocator out"
    if settings.enabled and spec.reward is None:
        raise FixSetup(f"setting allocator.enabled: the cascade {spec.name!r} has no reward model; {remedy}")
    if settings.flops_per_s is not None and spec.reward is None:
        raise FixSetup(f"setting allocator.flops_per_s: the cascade {spec.name!r} has no reward model; {remedy}")
    if settings.flops_per_s is not None and settings.enabled is False:
        raise FixSetup("setting allocator.flops_per_s: a limit needs the allocator; leave allocator.enabled out")
    return spec.reward is not None and settings.enabled is not False


def wants_experiment(settings: Settings, spec: CascadeSpec) -> bool:
    """Whether answers are remembered, for savings, rewards and the log. Raises FixSetup for a log without."""
    wants = settings.experiment.enabled and wants_allocator(settings.allocator, spec)
    if settings.log.folder is not None and not wants:
        why = "experiment.enabled is false" if not settings.experiment.enabled else "no policy chooses chains"
        raise FixSetup(f"setting log.folder: there would be nothing to log, for {why}")
    return wants


def safe_chain(settings: AllocatorSettings, space: ChainSpace) -> ActionChain:
    """What a request takes when nobody can decide. Raises FixSetup when the setting names no chain of the space."""
    if settings.safe_chain is None:
        return space.static
    chain = space.get(settings.safe_chain)
    if chain is None:
        raise FixSetup(f"setting allocator.safe_chain: {space.problem(settings.safe_chain)}")
    return chain


def start_of(settings: AllocatorSettings, cascade: Cascade, space: ChainSpace) -> Start | None:
    """What prices begin from when there is a limit; None without an allocator. Raises FixFile as the reward model."""
    if not wants_allocator(settings, cascade.spec):
        return None
    model = RewardModel.open(cascade.folder, cascade.spec, space)
    expected_rps = np.inf if settings.expected_rps is None else settings.expected_rps
    return Start(start_rewards(model, cascade, space), expected_rps)


def start_rewards(model: RewardModel, cascade: Cascade, space: ChainSpace) -> Rewards:
    """What a reward model predicts of some users on file, (S, J)."""
    users = max(1, min(LEAST_ROWS, START_BYTES // (4 * len(space))))
    return known_rewards(cascade, model, users)


def control_of(settings: Settings, spec: CascadeSpec, space: ChainSpace, start: Start | None = None) -> Control:
    """The control tick of these settings."""
    limit = next((one.limit for one in settings.stated_limits if one.kind is Kind.FLOPS), None)
    return Control(
        space,
        (flops_per_second(np.inf if limit is None else limit),),
        strategy(),
        reward_model_name(spec),
        safe_chain(settings.allocator, space).index,
        settings.allocator.window_s,
        start=start,
        safe_follows=settings.allocator.safe_chain is None,
        exploration=settings.experiment.explores(settings.log.folder is not None),
    )


def reward_model_name(spec: CascadeSpec) -> str:
    """What policies and replicas call the cascade's reward model: its file and the start of its hash; else ""."""
    return "" if spec.reward is None else name_of(spec.reward.sha256, spec.reward.file)
