"""Which request ids were seen of late, in bounded memory."""

from collections.abc import Sequence


class Recent:
    """Remembers the last `most` // 2 ids at least, and `most` at most.

    Two sets take turns, so that forgetting the older half is one assignment and nothing is kept of any order.
    """

    def __init__(self, most: int) -> None:
        self._half = max(1, most // 2)
        self._new: set[str] = set()
        self._old: set[str] = set()

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._new or request_id in self._old

    def __len__(self) -> int:
        return len(self._new) + len(self._old)

    def knows_none(self, ids: Sequence[str]) -> bool:
        """Whether all of them are news."""
        return self._new.isdisjoint(ids) and self._old.isdisjoint(ids)

    def forget(self, request_id: str) -> bool:
        """Forget one; whether it was remembered."""
        known = request_id in self
        self._new.discard(request_id)
        self._old.discard(request_id)
        return known

    def add(self, ids: Sequence[str]) -> None:
        """Remember them; of more than it can remember the last."""
        for begin in range(0, len(ids), self._half):
            part = ids[begin : begin + self._half]
            if len(self._new) + len(part) > self._half:
                self._old, self._new = self._new, set()
            self._new.update(part)
