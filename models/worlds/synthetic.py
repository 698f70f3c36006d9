"""A synthetic world with a known truth: who would click on what, and with what probability.

The truth of user u and item i, with the user's last clicks h (newest first, age 0, 1, ..) and the request's
device:

    logit = bias + bias_u + quality_weight * quality_i            what everybody agrees on
          + picky_u * (taste_weight * tanh(v_u . z_i)             style: a non-linear match of latent vectors
                       + category_weight * g_u[c_i])              topics the user likes: few or many (breadth)
          + interest_weight * tanh(sum_a decay^a * match(h_a, i)) interest follows the newest clicks
          - fatigue_weight * [the newest 3 clicks have i's topic] enough of it
          - repeat_weight * [i is in the history]                 seen already
          + device_weight * fit(device, length_i)                 context of the request
          + noise_weight * noise_(u,i)                            fixed, but no model can know it

with match(j, i) = [c_j = c_i] * (0.5 + 0.5 cos(z_j, z_i)). Users differ in activity, breadth and pickiness,
so that a long chain earns much from some and little from others.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.worlds.base import IntArray
from models.worlds.noise import pair_noise

FloatArray = NDArray[np.float64]
FATIGUE_AFTER = 3


@dataclass(frozen=True)
class SyntheticConfig:
    """Parameters of the world; the defaults are the shipped demo.

    users, items        sizes
    days                logged days: the last is the test day, the one before it validation
    warmup_days         days before the log that only fill the histories
    page                items shown in a request
    topics, style       number of topics, length of the latent style vectors
    history             clicks that a history holds
    popularity_tail     item i of the popularity order is shown in proportion to (i + 10) ** -tail
    popular, tasteful   shares of a page chosen by popularity, and by a noisy guess of taste; the rest is
    uniform homogeneous         every user is the same (see `SyntheticTruth`): personal allocation cannot win
    The weights are those of the truth above, in logits.
    """

    users: int = 5000
    items: int = 8000
    days: int = 20
    warmup_days: int = 6
    page: int = 10
    topics: int = 24
    style: int = 4
    history: int = 24
    popularity_tail: float = 0.8
    popular: float = 0.25
    tasteful: float = 0.4
    bias: float = -3.6
    quality_weight: float = 0.55
    taste_weight: float = 1.3
    category_weight: float = 1.6
    interest_weight: float = 1.5
    interest_decay: float = 0.8
    fatigue_weight: float = 1.2
    repeat_weight: float = 1.5
    device_weight: float = 0.5
    noise_weight: float = 0.3
    homogeneous: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Items:
    """Latent and visible properties of the items, one row each, in a random order of popularity."""

    topic: IntArray
    style: FloatArray
    quality: FloatArray
    popularity: FloatArray
    length: IntArray

    @classmethod
    def draw(cls, config: SyntheticConfig, rng: np.random.Generator) -> "Items":
        """Topics of unequal size, styles around the topic's centre, popularity that leans to quality."""
        n, d = config.items, config.style
        sizes = 1.0 / (np.arange(config.topics) + 4.0)
        topic = rng.choice(config.topics, size=n, p=sizes / sizes.sum()).astype(np.int32)
        centres = rng.normal(size=(config.topics, d))
        style = 0.6 * centres[topic] + 0.8 * rng.normal(size=(n, d))
        quality = rng.normal(size=n)
        order = np.argsort(np.argsort(-(0.6 * quality + rng.normal(size=n))))
        popularity = (order + 10.0) ** -config.popularity_tail
        length = rng.integers(0, 3, size=n).astype(np.int32)
        return cls(topic, style, quality, popularity / popularity.sum(), length)


@dataclass(frozen=True)
class Users:
    """Latent properties of the users, one row each.

    activity (n,) chance of a request on a day; picky (n,); bias (n,); likes (n, topics) in 0..1; style (n,
    d); device (n,) usual device, 0..2; key (n,) whose noise the user shares
    """

    activity: FloatArray
    picky: FloatArray
    bias: FloatArray
    likes: FloatArray
    style: FloatArray
    device: IntArray
    key: NDArray[np.int64]

    @classmethod
    def draw(cls, config: SyntheticConfig, rng: np.random.Generator) -> "Users":
        """Activity and breadth are independent; broad tastes are picky. Homogeneous: all as user 0."""
        n = config.users
        breadth = rng.integers(1, 9, size=n)
        ranks = np.argsort(rng.random((n, config.topics)), axis=1)
        likes = (ranks < breadth[:, None]) * rng.uniform(0.4, 1.0, size=(n, config.topics))
        style = rng.normal(size=(n, config.style))
        style *= 1.2 / np.linalg.norm(style, axis=1, keepdims=True)
        activity = rng.beta(1.2, 1.6, size=n) * 0.95 + 0.03
        picky = 0.35 + 0.13 * breadth + 0.25 * rng.random(n)
        bias = 0.5 * rng.normal(size=n)
        device = rng.choice(3, size=n, p=[0.6, 0.3, 0.1]).astype(np.int32)
        users = cls(activity, picky, bias, likes, style, device, np.arange(n))
        return users._all_as_one(0) if config.homogeneous else users

    def _all_as_one(self, row: int) -> "Users":
        same = np.full(len(self.key), row)
        return Users(
            np.full(len(same), 0.45),
            np.full(len(same), 1.0),
            np.zeros(len(same)),
            self.likes[same],
            self.style[same],
            self.device[same],
            same,
        )


class SyntheticTruth:
    """The truth, with the state that is served after the logs (histories up to the validation day).

    In a homogeneous world all users are statistically identical while the logs are drawn, and at the end all
    of them hold the same state (user 0's): they look the same to every model and have the same truth, so
    every chain gives every user the same list and earns the same from each.
    """

    def __init__(self, config: SyntheticConfig, users: Users, items: Items, history: IntArray) -> None:
        self.config, self.users, self.items, self.history = config, users, items, history
        norms = np.linalg.norm(items.style, axis=1, keepdims=True)
        self._direction = items.style / norms

    def click_probability(
        self, user_rows: NDArray[np.integer], item_rows: NDArray[np.integer], device: IntArray | None = None
    ) -> FloatArray:
        """Chance that each user clicks on each item when it is shown.

        user_rows (n,), item_rows (n,) or (n, m) -> float64 of item_rows' shape, in 0..1. `device` (n,)
        overrides the users' usual device.
        """
        users = np.asarray(user_rows)
        history = self.history[users]
        return self.probability(users, history, np.asarray(item_rows), device)

    def probability(
        self, users: NDArray[np.integer], history: IntArray, items: NDArray[np.integer], device: IntArray | None = None
    ) -> FloatArray:
        """As `click_probability`, with histories (n, L) of the caller."""
        flat = items if items.ndim == 2 else items[:, None]
        used = self.users.device[users] if device is None else device
        logit = self.lasting(users, flat) + self.passing(history, flat) + self._context(used, flat)
        logit += self.config.noise_weight * pair_noise(self.users.key[users][:, None], flat, self.config.seed)
        return np.asarray(1.0 / (1.0 + np.exp(-logit))).reshape(items.shape)

    def lasting(self, users: NDArray[np.integer], items: NDArray[np.integer]) -> FloatArray:
        """The part of the logit that time does not change: users (n,), items (n, m) -> (n, m)."""
        c, u, i = self.config, self.users, self.items
        match = np.tanh(np.einsum("nd,nmd->nm", u.style[users], i.style[items]))
        likes = u.likes[users[:, None], i.topic[items]]
        personal = u.picky[users][:, None] * (c.taste_weight * match + c.category_weight * likes)
        return np.asarray(c.bias + u.bias[users][:, None] + c.quality_weight * i.quality[items] + personal)

    def passing(self, history: IntArray, items: NDArray[np.integer]) -> FloatArray:
        """The part of the logit that follows the newest clicks: history (n, L), items (n, m) -> (n, m)."""
        c = self.config
        topic = np.where(history > 0, self.items.topic[history - 1], -1)  # (n, L)
        interest = np.zeros(items.shape)
        for age in range(history.shape[1]):
            entry = history[:, -1 - age]
            if (weight := c.interest_decay**age) < 0.02:
                break
            cosine = np.einsum("nd,nmd->nm", self._direction[entry - 1], self._direction[items])
            same = topic[:, -1 - age, None] == self.items.topic[items]
            interest += weight * same * (0.5 + 0.5 * cosine)
        newest = topic[:, -FATIGUE_AFTER:]
        tired = (newest[:, None, :] == self.items.topic[items][:, :, None]).all(axis=2)
        seen = (history[:, None, :] == items[:, :, None] + 1).any(axis=2)
        aversion = c.fatigue_weight * tired + c.repeat_weight * seen
        return np.asarray(c.interest_weight * np.tanh(interest) - aversion)

    def _context(self, device: IntArray, items: NDArray[np.integer]) -> FloatArray:
        """Long items suit the large screen, short ones the small: +1, 0 or -1 times the weight."""
        distance = np.abs(device[:, None] - self.items.length[items])
        return np.asarray(self.config.device_weight * (1.0 - distance))
