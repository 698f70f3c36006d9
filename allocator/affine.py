"""A line through what was seen, a + b: how much of something a run takes by itself, and each item in it. Pure."""

from dataclasses import dataclass
from math import sqrt

Line = tuple[float, float]
"""What a run takes beyond its items, and what an item takes; both >= 0."""
RIDGE = 0.01
"""How firmly both parts are held to the ratio rule, beside what was seen. It decides where items went in step with runs
and hardly matters where they did not."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Of all that was seen, each observation weighted: of runs u, items v and what they took y, and their products."""

    u: float = 0.0
    v: float = 0.0
    y: float = 0.0
    uu: float = 0.0
    uv: float = 0.0
    vv: float = 0.0
    uy: float = 0.0
    vy: float = 0.0

    def seen(self, runs: float, items: float, took: float, scale: float, kept: float) -> "Sums":
        """With one more observation: so many runs with so many items in all took so much.

        scale  by how much `took` may be off, to a common factor; > 0
        kept   what earlier observations still count, in [0, 1]
        """
        u, v, y = runs / scale, items / scale, took / scale
        return Sums(
            kept * self.u + u,
            kept * self.v + v,
            kept * self.y + y,
            kept * self.uu + u * u,
            kept * self.uv + u * v,
            kept * self.vv + v * v,
            kept * self.uy + u * y,
            kept * self.vy + v * y,
        )


def line(sums: Sums, shape: Line) -> Line:
    """The line of least squares, both of its parts >= 0, scaled to say of all that was seen together what it took.

    A ridge pulls it towards the ratio rule: `shape` times what all took over what it says of them. Where runs and items
    went in step nothing tells them apart, and the ratio rule is the outcome; so it is where nothing was seen.

    shape  how a run's own part is thought to be to an item's; both > 0
    """
    if sums.uu <= 0:
        return shape
    ratio = sums.y / (shape[0] * sums.u + shape[1] * sums.v)
    run, item = ratio * shape[0], ratio * shape[1]
    if sums.vv <= 0:
        return run, item
    # In units in which runs and items weigh alike, so that the pull does not depend on how many items a run has.
    root_u, root_v = sqrt(sums.uu), sqrt(sums.vv)
    run_right = sums.uy / root_u + RIDGE * run * root_u
    item_right = sums.vy / root_v + RIDGE * item * root_v
    p, q = _solved(1 + RIDGE, sums.uv / (root_u * root_v), run_right, item_right)
    run, item = p / root_u, q / root_v
    said = run * sums.u + item * sums.v
    again = sums.y / said if said > 0 else 0.0
    return run * again, item * again


def _solved(own: float, both: float, p_right: float, q_right: float) -> Line:
    """The point p, q >= 0 that solves [[own, both], [both, own]] (p, q) = right, or comes closest to it."""
    determinant = own * own - both * both
    p = (own * p_right - both * q_right) / determinant
    q = (own * q_right - both * p_right) / determinant
    if p < 0:
        return 0.0, q_right / own
    if q < 0:
        return p_right / own, 0.0
    return p, q
