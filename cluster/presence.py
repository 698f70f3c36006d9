"""What the controller does about variants once a window: masks what is away, and has warmed what is wanted."""

from allocator.chains import ChainSpace
from allocator.choice import Mask, Rewards
from allocator.policy import Policy
from cluster.accounts import Report
from cluster.availability import Roster, without
from cluster.config import Settings
from cluster.placing import own_variants, scaled_variants
from cluster.warming import Ping, Warmer
from models.spec import CascadeSpec


class Presence:
    """Used from one event loop.

    ping  a call that any replica of a variant answers
    """

    def __init__(self, settings: Settings, spec: CascadeSpec, space: ChainSpace, ping: Ping) -> None:
        self._space = space
        self._roster = Roster(own_variants(settings, spec), settings.allocator.window_s)
        self._warmer = Warmer(space, scaled_variants(settings, spec), ping)

    def hear(self, report: Report, now_s: float) -> None:
        """A report has come; `now_s` is monotonic."""
        self._roster.hear(report, now_s)

    def tick(self, policy: Policy | None, rewards: Rewards) -> Mask:
        """The chains that may be taken in the next window, (J,).

        policy   by which the window that ended was decided; None at the start
        rewards  (S, J) of requests that were decided in it
        """
        away = self._roster.away()
        if policy is not None:
            self._warmer.look(policy, rewards, away)
        return without(self._space, away)
