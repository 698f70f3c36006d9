"""The last minutes of a figure, as a line of blocks."""

import math
from collections import deque

STEP_S = 10.0
BLOCKS = "▁▂▃▄▅▆▇█"


class Course:
    """Means over steps of STEP_S, the newest `most`."""

    def __init__(self, most: int) -> None:
        self._steps: deque[tuple[int, float, int]] = deque(maxlen=most)  # number, sum, figures

    def add(self, time_s: float, value: float | None) -> None:
        """A figure of a time, no earlier than those before; None for one that is not known."""
        number = math.floor(time_s / STEP_S)
        if value is None:
            return
        if self._steps and self._steps[-1][0] == number:
            _, total, figures = self._steps.pop()
            self._steps.append((number, total + value, figures + 1))
        elif not self._steps or number > self._steps[-1][0]:
            self._steps.append((number, value, 1))

    def __str__(self) -> str:
        """A block a step, from nothing to the highest; a space for a step of which nothing is known."""
        means = {number: total / figures for number, total, figures in self._steps}
        if not means:
            return ""
        highest = max(means.values()) or 1.0
        last = max(means)
        steps = range(max(min(means), last - (self._steps.maxlen or 1) + 1), last + 1)
        return "".join(_block(means[n] / highest) if n in means else " " for n in steps)


def _block(share: float) -> str:
    return BLOCKS[min(len(BLOCKS) - 1, max(0, math.ceil(share * len(BLOCKS)) - 1))]
