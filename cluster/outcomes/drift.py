"""Whether rewards come true as the reward model predicts them; an alarm when they no longer do."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocator.arms import POLICY
from cluster.outcomes.drift_evidence import (
    DriftTest,
    Evidence,
    Side,
    alarmed,
    blocks_of,
    detection_requests,
    reset,
    step,
)
from cluster.outcomes.drift_window import Calibration, Window
from cluster.outcomes.pending import Matured

WINDOW_S = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class Alarm:
    """Rewards have drifted: which way, since when that is known (Unix), and after how many requests of this model."""

    side: Side
    time_s: float
    requests: int


@dataclass(frozen=True, slots=True)
class DriftView:
    """What is known, for metrics and people.

    reward_model    that all of it is about
    requests        that have matured since it came
    calibration     of the window
    tolerance       ratios within 1 ± tolerance are no drift
    alarm           None while there is none
    alarms          how many there were of this model
    evidence        for drift, from 0 to 1, where an alarm is raised
    detects_within  requests within which a ratio that moves by twice the tolerance is an alarm, in 97 of 100 cases and
                    as rewards spread now; infinite while that is not known
    run_length      requests to a false alarm, on average at the soonest
    """

    reward_model: str
    requests: int
    calibration: Calibration
    tolerance: float
    alarm: Alarm | None
    alarms: int
    evidence: float
    detects_within: float
    run_length: float


@dataclass(frozen=True, slots=True, eq=False)
class ChainDrift:
    """By chain, (J,), since the reward model came: requests, and their means; NaN for chains without any."""

    requests: NDArray[np.int64]
    predicted_means: NDArray[np.float64]
    realised_means: NDArray[np.float64]


class Drift:
    """Looks at requests whose chain the policy chose and whose reward was predicted, after the whole horizon.

    An alarm stays until the interval of what came after it, in a window of its own, lies within the tolerance, or
    another reward model comes. Used by one thread at a time.

    chains  J
    """

    def __init__(self, chains: int, test: DriftTest | None = None, window_s: float = WINDOW_S) -> None:
        self._test, self._window_s, self._chains = test or DriftTest(), window_s, chains
        self._model, self._since_version = "", 0
        self._begin()

    def _begin(self) -> None:
        self._evidence, self._window = Evidence(), Window(self._window_s)
        self._left = np.empty((2, 0))  # of a block that is not full
        self._by_chain = np.zeros((3, self._chains))
        self._requests = self._alarms = 0
        self._alarm: Alarm | None = None
        self._after_alarm = Window(self._window_s)

    def follow(self, reward_model: str, policy_version: int) -> None:
        """From this version of the policy on, this model predicts. If it is another, all begins anew."""
        if reward_model != self._model:
            self._model, self._since_version = reward_model, policy_version
            self._begin()

    def step(self, matured: Matured, now_s: float) -> None:
        """Take in what has matured; `now_s` is Unix time."""
        counts = (matured.arms == POLICY) & matured.whole & ~np.isnan(matured.predicted)
        counts &= matured.policy_versions >= self._since_version
        predicted, realised = matured.predicted[counts].astype(np.float64), matured.rewards[counts]
        for window in (self._window, self._after_alarm):
            window.add(matured.groups[counts], predicted, realised, now_s)
        for row, amount in enumerate((1.0, predicted, realised)):
            np.add.at(self._by_chain[row], matured.chains[counts], amount)
        self._requests += len(predicted)
        self._left = np.concatenate([self._left, [predicted, realised]], axis=1)
        blocks = blocks_of(self._test, *self._left)
        self._left = self._left[:, len(blocks) * self._test.block :]
        for predicted_sum, realised_sum in blocks.tolist():
            self._evidence = step(self._test, self._evidence, predicted_sum, realised_sum)
            if side := alarmed(self._test, self._evidence):
                self._raise(side, now_s)
        self._calm(now_s)

    def _raise(self, side: Side, now_s: float) -> None:
        self._evidence = reset(self._evidence)
        if self._alarm is None or self._alarm.side is not side:
            self._alarms += 1
            self._alarm = Alarm(side, now_s, self._requests)
            self._after_alarm = Window(self._window_s)

    def _calm(self, now_s: float) -> None:
        if self._alarm is not None:
            found, tolerance = self._after_alarm.calibration(now_s), self._test.tolerance
            if found.low >= 1 - tolerance and found.high <= 1 + tolerance:
                self._alarm, self._evidence = None, reset(self._evidence)

    def view(self, now_s: float) -> DriftView:
        """What is known now."""
        strongest = max(self._evidence.low, self._evidence.high)
        return DriftView(
            self._model,
            self._requests,
            self._window.calibration(now_s),
            self._test.tolerance,
            self._alarm,
            self._alarms,
            min(max(strongest / self._test.level, 0.0), 1.0),
            detection_requests(self._test, self._evidence),
            self._test.run_length,
        )

    def by_chain(self) -> ChainDrift:
        """How each chain's predictions have come true."""
        requests, predicted, realised = self._by_chain
        with np.errstate(invalid="ignore"):
            return ChainDrift(requests.astype(np.int64), predicted / requests, realised / requests)
