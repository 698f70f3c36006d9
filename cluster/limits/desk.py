"""Who answers for limits."""

from typing import Any, Protocol

from allocator.limits import Limit

Payload = dict[str, Any]


class LimitDesk(Protocol):
    """Raises TryAgain, or Late, when nobody can answer now."""

    async def constraints(self) -> list[Payload]:
        """All limits in force and how they stand, each as `cluster.limits.schemas.LimitOut`."""
        ...

    async def put_limit(self, limit: Limit, author: str) -> Payload:
        """Set a limit; how it stands then. Raises FixRequest where it cannot be held."""
        ...

    async def clear_limit(self, name: str, author: str) -> None:
        """Remove a limit. Raises NoSuch where there is none of this name, FixRequest for one that nobody has stated."""
        ...

    async def limit_changes(self, most: int) -> list[Payload]:
        """Who changed what, newest first, each as `cluster.limits.schemas.ChangeOut`."""
        ...
