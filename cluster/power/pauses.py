"""When to try again what has failed."""


class Pauses:
    """Pauses that double from `first_s` to `most_s`, counted from the first failure, then from each attempt."""

    def __init__(self, first_s: float, most_s: float) -> None:
        self._first_s, self._most_s = first_s, most_s
        self._pause_s = first_s
        self._from_s: float | None = None

    def passed(self, now_s: float, *, at_once: bool = False) -> bool:
        """Whether to try now. `at_once` needs no pause, but still `first_s` since the last attempt."""
        if self._from_s is None:
            self._from_s = now_s - self._first_s if at_once else now_s
        if now_s - self._from_s < (self._first_s if at_once else self._pause_s):
            return False
        self._from_s, self._pause_s = now_s, min(2 * self._pause_s, self._most_s)
        return True
