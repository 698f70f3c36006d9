"""The methods that are compared, and the ablations of GreenFlow, each with what may be said of it in a sentence.

Prices of GreenFlow, its ablations and the oracle are solved anew on every draw of users (`Priced`). DCAF, CRAS and the
one-shot price are decided once, on the held-out users' predictions, and draws weigh those decisions (`Decided`). Mixes
need no users (`Mixed`). Nobody but the oracle sees a held-out user's true rewards.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.baselines.cras import cras
from allocator.baselines.dcaf import dcaf
from allocator.baselines.fixed import Mix, equal, equal_mix, random_mix, static_chain
from allocator.baselines.items import ItemGrid
from allocator.choice import Floats, Ints, Mask, chains_under
from allocator.optimum import bisect_price
from allocator.pfec.case import Case
from allocator.pfec.measure import NOWHERE, Allocation, Decided, Mixed
from allocator.pfec.priced import Priced
from models.errors import FixRequest

STATIC, EQUAL, GREENFLOW, ORACLE = "static", "equal", "greenflow", "oracle"
CRAS_WINDOWS = 60


@dataclass(frozen=True)
class Method:
    """A name for files, a label and a sentence for people, and how its allocation is made for a case and its knots."""

    name: str
    label: str
    about: str
    allocation: Callable[[Case, Floats], Allocation]


def methods() -> Sequence[Method]:
    """All methods, the floor first and the oracle last."""
    return (
        Method(STATIC, "static chain", "The chain that production runs without GreenFlow, for everybody.", _static),
        Method("random", "random mix", "Chains by chance, as evenly as the budget allows. The floor.", _mixes(_random)),
        Method(
            "equal-chain",
            "EQUAL, one chain",
            "The best fixed chain within the budget, chosen on training users. Leaves unspent what it costs less.",
            _mixes(lambda case, budget: equal(case.training_means, case.cost, budget)),
        ),
        Method(
            EQUAL,
            "EQUAL",
            "The best mix of two fixed chains within the budget, chosen on training users: the fairer opponent.",
            _mixes(lambda case, budget: equal_mix(case.training_means, case.cost, budget)),
        ),
        Method("dcaf", "DCAF-style", "Only item numbers; every stage on its own, under one price.", _dcaf),
        Method("cras", "CRAS-style", "Only item numbers; a budget, a price and feedback for every stage.", _cras),
        Method(
            GREENFLOW,
            "GreenFlow",
            "The chain with the best predicted reward minus price times FLOPs, for every request.",
            lambda case, knots: Priced(case, case.predictions, _all(case), knots),
        ),
        Method(
            ORACLE,
            "oracle",
            "The same with true rewards: the linear programme's optimum. Nobody can run it.",
            lambda case, knots: Priced(case, case.rewards, _all(case), knots),
        ),
    )


def ablations() -> Sequence[Method]:
    """GreenFlow with one thing taken away each."""
    return (
        Method(
            "not-personal",
            "no personalisation",
            "Everybody has the mean prediction of the training users.",
            _mixes(lambda case, budget: equal_mix(_mean(case), case.cost, budget)),
        ),
        Method(
            "only-items",
            "only item numbers",
            "Variants are those of the static chain; item numbers are chosen.",
            lambda case, knots: Priced(case, case.predictions, same_variants(case), knots),
        ),
        Method(
            "only-variants",
            "only variants",
            "Item numbers are those of the static chain; variants are chosen.",
            lambda case, knots: Priced(case, case.predictions, same_numbers(case), knots),
        ),
        Method(
            "one-shot",
            "one-shot price",
            "The price is solved once, on training users, and not corrected: it may miss the budget.",
            _one_shot,
        ),
    )


def same_variants(case: Case) -> Mask:
    """The chains that differ from the static one in item numbers only, (J,)."""
    mask = np.zeros(len(case.space), bool)
    mask[ItemGrid.of(case.space).lookup.ravel()] = True
    return mask


def same_numbers(case: Case) -> Mask:
    """The chains that differ from the static one in variants only, (J,)."""
    own = [action.items for action in case.space.static.actions]
    return np.array([[action.items for action in chain.actions] == own for chain in case.space])


def _all(case: Case) -> Mask:
    return np.ones(len(case.space), bool)


def _mean(case: Case) -> Floats:
    mean: Floats = case.training_predictions.mean(axis=0, dtype=np.float64)
    return mean


def _static(case: Case, knots: Floats) -> Allocation:
    shares = _shares(case, [static_chain(case.static)] * len(knots))
    shares[knots < case.cost[case.static] * (1 - 1e-12)] = np.nan
    return Mixed(case, shares)


def _random(case: Case, budget: float) -> Mix:
    return random_mix(case.cost, budget)


def _mixes(mix: Callable[[Case, float], Mix]) -> Callable[[Case, Floats], Allocation]:
    return lambda case, knots: Mixed(case, _shares(case, [mix(case, budget) for budget in knots.tolist()]))


def _shares(case: Case, mixes: Sequence[Mix]) -> Floats:
    shares = np.zeros((len(mixes), len(case.space)))
    for row, mix in zip(shares, mixes, strict=True):
        row[mix.chains] = mix.shares
    return shares


def _dcaf(case: Case, knots: Floats) -> Allocation:
    grid = ItemGrid.of(case.space)

    def decide(budget: float) -> Ints:
        return dcaf(grid, case.predictions, case.cost, budget).allocate(case.predictions)

    return Decided(case, _decided(case, knots, decide))


def _cras(case: Case, knots: Floats) -> Allocation:
    """Fitted on training users' predictions; then CRAS_WINDOWS windows of feedback, each of all held-out users."""
    grid = ItemGrid.of(case.space)

    def decide(budget: float) -> Ints:
        method = cras(grid, case.training_predictions, case.cost, budget)
        for _ in range(CRAS_WINDOWS):
            method = method.adapted(case.predictions)
        return method.allocate(case.predictions)

    return Decided(case, _decided(case, knots, decide))


def _one_shot(case: Case, knots: Floats) -> Allocation:
    rows = len(case.training_predictions)

    def decide(budget: float) -> Ints:
        prices = bisect_price(case.training_predictions, case.cost, budget * rows).prices
        return chains_under(case.predictions, case.cost[:, None], prices)

    return Decided(case, _decided(case, knots, decide))


def _decided(case: Case, knots: Floats, decide: Callable[[float], Ints]) -> Ints:
    chains = np.full((len(knots), len(case.rewards)), NOWHERE)
    for row, budget in zip(chains, knots.tolist(), strict=True):
        try:
            row[:] = decide(budget)
        except FixRequest:  # this method cannot go so low
            continue
    return chains
