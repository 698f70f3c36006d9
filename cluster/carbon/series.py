"""A carbon intensity over time, step by step: which figure holds when. Pure."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from cluster.carbon.base import Span


@dataclass(frozen=True, slots=True)
class Series:
    """Spans in order, without overlaps; gaps may lie between them."""

    spans: tuple[Span, ...] = ()

    @classmethod
    def of(cls, spans: Iterable[Span]) -> "Series":
        """Sort the spans and cut each off where the next begins; of those that begin together, the last one counts."""
        begins = {span.from_s: span for span in spans if span.to_s > span.from_s}
        ordered = [begins[at] for at in sorted(begins)]
        cut = (replace(span, to_s=min(span.to_s, after.from_s)) for span, after in pairwise(ordered))
        return cls((*cut, *ordered[-1:]))

    def at(self, unix_s: float) -> Span | None:
        """The span that holds at the time; None in a gap and outside."""
        span = self.last_before(unix_s)
        return span if span is not None and unix_s < span.to_s else None

    def last_before(self, unix_s: float) -> Span | None:
        """The newest span that has begun by the time, over or not; None before the first."""
        index = bisect_right(self.spans, unix_s, key=lambda span: span.from_s)
        return self.spans[index - 1] if index else None

    def between(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """The spans that touch [from_s, to_s), cut off at its ends."""
        touching = (s for s in self.spans if s.from_s < to_s and s.to_s > from_s)
        return tuple(replace(s, from_s=max(s.from_s, from_s), to_s=min(s.to_s, to_s)) for s in touching)
