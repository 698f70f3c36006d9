"""The report's contents: what was judged on what, every figure with its interval, and the assumptions in words."""

from pydantic import BaseModel, ConfigDict

from allocator.pfec.footprint import Carbon, Quality
from allocator.pfec.resample import Interval


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class About(_Frozen):
    """What was judged on what. `reward_model` is its SHA-256; `gives` what a reward is, in words."""

    cascade: str
    world: str
    gives: str
    k: int
    chains: int
    static_chain: str
    static_flops: float
    reward_model: str
    training_users: int
    held_out_users: int
    draws: int
    seed: int


class Assumptions(_Frozen):
    """How joules and grams came about. `quality` is that of joules; grams are assumed, as their intensity is."""

    quality: Quality
    energy: str
    carbon: Carbon


class Point(_Frozen):
    """A method at one budget; means per request. None where the method cannot meet the budget.

    budget_flops       mean FLOPs of a request that may be spent
    spend_flops        what was spent
    reward             what was earned
    over_equal         reward above that of EQUAL at the same spend
    over_static        reward above that of the static chain, whatever that spends
    gap_share          over_equal / (the oracle's reward above EQUAL's at the method's spend)
    joules             modelled or assumed, see Assumptions
    grams_per_million  grams of CO2e of a million requests
    """

    budget_flops: float
    spend_flops: Interval
    reward: Interval
    over_equal: Interval
    over_static: Interval
    gap_share: Interval
    joules: float | None
    grams_per_million: float | None


class Curve(_Frozen):
    """A method's reward over what it spends, for drawing; all of one length, ascending in budget."""

    spend_flops: tuple[float, ...]
    reward: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class MethodReport(_Frozen):
    """A method at all budgets."""

    name: str
    label: str
    about: str
    points: tuple[Point, ...]
    curve: Curve


class EqualReward(_Frozen):
    """What a method needs to earn a share of the static chain's reward.

    spend_flops  the least spend that earns it; value None where it is not reached, high None where it may not be
    saving       1 - spend / the static chain's FLOPs
    reached      share of draws in which it is reached
    """

    name: str
    label: str
    share_of_static: float
    spend_flops: Interval
    saving: Interval
    reached: float


class DaySpan(_Frozen):
    """Some windows of a day together: means over them; reward per request."""

    hour: float
    requests_per_s: float
    price: float
    spend_of_limit: float
    reward: float


class DayReport(_Frozen):
    """A day under one way to set prices. Shares of the limit, totals of FLOPs and joules, reward per request.

    over_windows  windows that spend more than 5% above the limit
    """

    name: str
    label: str
    utilisation: float
    overuse: float
    over_windows: int
    spend_flops: float
    joules: float
    reward: float
    spans: tuple[DaySpan, ...]


class DaySetting(_Frozen):
    """How the day was simulated."""

    windows: int
    window_s: float
    requests_per_s: float
    limit_flops_per_s: float
    users: int
    sample_rows: int


class Report(_Frozen):
    """All of it. Lists of methods go from the floor to the oracle."""

    format: int = 1
    about: About
    assumptions: Assumptions
    budgets_flops: tuple[float, ...]
    methods: tuple[MethodReport, ...]
    ablations: tuple[MethodReport, ...]
    equal_reward: tuple[EqualReward, ...]
    day_setting: DaySetting
    day: tuple[DayReport, ...]

    def method(self, name: str) -> MethodReport:
        """The method or ablation of that name."""
        return next(one for one in (*self.methods, *self.ablations) if one.name == name)
