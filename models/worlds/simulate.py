"""Draws a synthetic world's logs day by day: a policy shows pages, the truth clicks, histories grow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spec import Column
from models.worlds.base import (
    ITEM_COLUMN,
    IntArray,
    Log,
    Table,
    World,
    bucketed,
    joined,
    push_history,
    quantile_edges,
)
from models.worlds.synthetic import Items, SyntheticConfig, SyntheticTruth, Users

GUESSES = 40
"""Candidates among which the tasteful part of the logging policy chooses one item of the page."""
BREADTH_EDGES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
LOOK_DIMS, LOOK_EDGES = 4, (-0.5, 0.5)
"""An item's look tells three levels of each of its first four style numbers."""
RATE_PRIOR = 10.0
"""Exposures that the overall click rate weighs in a user's smoothed rate."""
RATE_EDGES = (0.04, 0.06, 0.08, 0.1, 0.12, 0.15, 0.18, 0.22, 0.27, 0.33)
COUNT_EDGES = (1.0, 2.0, 4.0, 7.0, 12.0, 20.0, 35.0, 60.0)
DEVICE_SHARE = 0.8
"""How often a request comes from the user's usual device."""


@dataclass
class _State:
    """What is known of every user so far; mutated day by day."""

    history: IntArray
    shown: NDArray[np.float64]
    clicked: NDArray[np.float64]


def synthetic_world(config: SyntheticConfig) -> tuple[World, SyntheticTruth]:
    """Generate the world of a config: the same config gives the same world, bit for bit."""
    rng = np.random.default_rng(config.seed)
    items, users = Items.draw(config, rng), Users.draw(config, rng)
    history = np.zeros((config.users, config.history), dtype=np.int32)
    truth = SyntheticTruth(config, users, items, history)
    table = _item_table(config, items, rng)
    static = _static_features(config, users, rng)
    state = _State(history, np.zeros(config.users), np.zeros(config.users))
    for day in range(-config.warmup_days, 0):
        _day(truth, state, static, table, day, rng)
    logs = [_day(truth, state, static, table, day, rng) for day in range(config.days - 1)]
    served = _State(history.copy(), state.shown.copy(), state.clicked.copy())
    test = _day(truth, state, static, table, config.days - 1, rng)
    if config.homogeneous:
        for array in (served.history, served.shown, served.clicked):
            array[:] = array[0]
    truth.history = served.history
    return _world(config, truth, table, static, served, logs, test), truth


def _world(
    config: SyntheticConfig,
    truth: SyntheticTruth,
    items: Table,
    static: IntArray,
    served: _State,
    logs: list[Log],
    test: Log,
) -> World:
    features = _user_features(truth, static, served, np.arange(config.users), truth.users.device)
    columns = _user_columns(config)
    cold = np.array([1, 0, 0, 1, 1, 1], dtype=np.int32)  # small screen, nothing known, no clicks yet
    kind = "homogeneous synthetic" if config.homogeneous else "synthetic"
    about = f"{kind} world, seed {config.seed}: {config.users} users, {config.items} items"
    users = Table(np.arange(config.users, dtype=np.int64), features, columns)
    train = joined(logs[:-1])
    name = kind.replace(" ", "-")
    return World(name, about, users, items, served.history, cold, ("topic", "look"), train, logs[-1], test)


def _day(
    truth: SyntheticTruth, state: _State, static: IntArray, items: Table, day: int, rng: np.random.Generator
) -> Log:
    """One day: every active user makes one request; returns its log and moves the state on."""
    users = np.flatnonzero(rng.random(len(static)) < truth.users.activity)
    usual = rng.random(len(users)) < DEVICE_SHARE
    device = np.where(usual, truth.users.device[users], rng.integers(0, 3, size=len(users))).astype(np.int32)
    history = state.history[users].copy()
    features = _user_features(truth, static, state, users, device)
    page = _page(truth, users, rng)
    chance = truth.probability(users, history, page, device)
    click = rng.random(page.shape) < chance
    for slot in range(page.shape[1]):
        hit = click[:, slot]
        push_history(state.history, users[hit], page[hit, slot])
    state.shown[users] += page.shape[1]
    state.clicked[users] += click.sum(axis=1)
    count = len(users)
    return Log(
        day=np.full(count, day, dtype=np.int32),
        user_row=users.astype(np.int32),
        user=features,
        history=history,
        state=np.zeros(count, dtype=np.int32),
        offsets=np.arange(count + 1, dtype=np.int64) * page.shape[1],
        item_row=page.ravel(),
        click=click.ravel().astype(np.float32),
        catalogue=items.features[None],
    )


def _page(truth: SyntheticTruth, users: NDArray[np.int64], rng: np.random.Generator) -> IntArray:
    """The logging policy: distinct items (n, page) by popularity, by a guess of taste, and at random."""
    config, popularity = truth.config, truth.items.popularity
    kind = rng.random((len(users), config.page))
    page = rng.integers(0, config.items, size=kind.shape)
    popular = kind < config.popular
    page[popular] = rng.choice(config.items, size=int(popular.sum()), p=popularity)
    row, slot = np.nonzero((kind >= config.popular) & (kind < config.popular + config.tasteful))
    flat = np.sqrt(popularity)
    guesses = rng.choice(config.items, size=(len(row), GUESSES), p=flat / flat.sum())
    liked = truth.lasting(users[row], guesses) + rng.gumbel(size=guesses.shape)
    page[row, slot] = guesses[np.arange(len(row)), liked.argmax(axis=1)]
    while (again := _repeats(page)).any():
        page[again] = rng.integers(0, config.items, size=int(again.sum()))
    return page.astype(np.int32)


def _repeats(page: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a row holds an item that it holds further left as well."""
    order = np.argsort(page, axis=1, kind="stable")
    ordered = np.take_along_axis(page, order, axis=1)
    repeat = np.zeros(page.shape, dtype=bool)
    np.put_along_axis(repeat, order[:, 1:], ordered[:, 1:] == ordered[:, :-1], axis=1)
    return repeat


def _item_table(config: SyntheticConfig, items: Items, rng: np.random.Generator) -> Table:
    """What models may see of the items: the truth, coarsely and with noise."""
    n = config.items
    levels = np.digitize(items.style[:, :LOOK_DIMS], LOOK_EDGES)
    look = levels @ (len(LOOK_EDGES) + 1) ** np.arange(LOOK_DIMS)
    rating = items.quality + 0.5 * rng.normal(size=n)
    rating_edges = quantile_edges(rating, 8)
    popularity = -np.log(items.popularity)
    popularity_edges = quantile_edges(popularity, 8)
    columns = (
        Column(name=ITEM_COLUMN, codes=n + 1),
        Column(name="topic", codes=config.topics),
        Column(name="look", codes=(len(LOOK_EDGES) + 1) ** LOOK_DIMS),
        Column(name="length", codes=3),
        Column(name="rating", edges=rating_edges),
        Column(name="popularity", edges=popularity_edges),
    )
    codes = (np.arange(n) + 1, items.topic, look, items.length)
    buckets = (bucketed(rating, rating_edges), bucketed(popularity, popularity_edges))
    features = np.stack([*codes, *buckets], axis=1).astype(np.int32)
    return Table(np.arange(n, dtype=np.int64) + 1_000_000, features, columns)


def _static_features(config: SyntheticConfig, users: Users, rng: np.random.Generator) -> IntArray:
    """(users, 2): a topic that the user once named (0 for none), the coarse style of the user's group."""
    n = config.users
    named = 1 + np.argmax(users.likes + 0.35 * rng.gumbel(size=users.likes.shape), axis=1)
    named[rng.random(n) < 0.4] = 0
    vague = users.style[:, :3] + 0.5 * rng.normal(size=(n, 3))
    group = 1 + (vague > 0) @ np.array([1, 2, 4])
    static = np.stack([named, group], axis=1).astype(np.int32)
    if config.homogeneous:
        static[:] = static[0]
    return static


def _user_columns(config: SyntheticConfig) -> tuple[Column, ...]:
    return (
        Column(name="device", values=("phone", "tablet", "tv")),
        Column(name="named_topic", codes=config.topics + 1),
        Column(name="group", codes=9),
        Column(name="click_rate", edges=RATE_EDGES),
        Column(name="clicks", edges=COUNT_EDGES),
        Column(name="breadth", edges=BREADTH_EDGES),
    )


def _user_features(
    truth: SyntheticTruth, static: IntArray, state: _State, users: NDArray[np.int64], device: IntArray
) -> IntArray:
    """Encoded features (n, Fu) of these users from what is known so far."""
    shown, clicked = state.shown[users], state.clicked[users]
    overall = state.clicked.sum() / max(1.0, state.shown.sum()) if state.shown.any() else 0.12
    rate = (clicked + RATE_PRIOR * overall) / (shown + RATE_PRIOR)
    history = state.history[users]
    topics = np.where(history > 0, truth.items.topic[history - 1] + 1, 0)
    ordered = np.sort(topics, axis=1)
    breadth = ((ordered[:, 1:] != ordered[:, :-1]) & (ordered[:, 1:] > 0)).sum(axis=1) + (ordered[:, 0] > 0)
    parts = [device + 1, static[users, 0], static[users, 1], bucketed(rate, RATE_EDGES)]
    parts += [bucketed(clicked, COUNT_EDGES), bucketed(breadth.astype(np.float64), BREADTH_EDGES)]
    return np.stack(parts, axis=1).astype(np.int32)
