"""What the policy saves against users who are held back: sums by group, estimates, intervals at one look and at all."""

from allocator.savings.estimate import Figure, Method, Saved, Savings, estimate
from allocator.savings.intervals import Interval
from allocator.savings.sums import GroupSums

__all__ = ["Figure", "GroupSums", "Interval", "Method", "Saved", "Savings", "estimate"]
