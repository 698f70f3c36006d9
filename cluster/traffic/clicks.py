"""Users who click on what they are recommended, and tell the server of it: beside the requests, never in their way."""

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.traffic.client import Client
from cluster.traffic.report import OK, Answer, ClicksReport

EVERY_S = 1.0
MOST = 400
"""Feedback in one call: whatever their ids, fewer bytes than a server takes by default (64 KiB)."""
STRANGERS = "not of this world"


@dataclass(frozen=True, slots=True)
class Shown:
    """A page that a user looks at: ids of the request, of the user and of the k items."""

    request_id: str
    user: int | str
    items: tuple[int | str, ...]


class Clicks(Protocol):
    """Draws clicks. Called from one thread at a time, which need not be the same one."""

    def __call__(self, shown: Sequence[Shown], /) -> NDArray[np.int64]:
        """(n,) clicks on each page; -1 for one whose user or items it does not know."""
        ...


@dataclass
class Clicker:
    """Has clicks drawn for good answers and sends them in batches, once a second.

    A page without a click is not told of: to the server, silence is a reward of zero. What fails is counted, and not
    sent again.
    """

    client: Client
    draws: Clicks
    pages: int = 0
    clicks: int = 0
    sent: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    _seen: list[tuple[bytes, Answer]] = field(default_factory=list)
    _open: int = 0

    def saw(self, body: bytes, answer: Answer) -> None:
        """An answer has come to this request."""
        if answer.kind == OK:
            self._seen.append((body, answer))

    async def run(self, ended: asyncio.Event) -> None:
        """Until `ended` is set; then what is left is sent."""
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), EVERY_S)
            await self._flush()

    def give_up(self) -> None:
        """Count what is not sent as failed."""
        self._failed("not sent before the end", len(self._seen) + self._open)

    async def _flush(self) -> None:
        seen, self._seen = self._seen, []
        shown = [page for body, answer in seen if (page := _page(body, answer)) is not None]
        self._failed("an answer without a request's id", len(seen) - len(shown))
        if not shown:
            return
        drawn = await asyncio.to_thread(self.draws, shown)
        known = drawn >= 0
        self.pages += int(known.sum())
        self.clicks += int(drawn[known].sum())
        if strangers := [page for page, knows in zip(shown, known, strict=True) if not knows]:
            self._failed(STRANGERS, len(strangers), f"user {strangers[0].user!r}, items {strangers[0].items}")
        told = [(page.request_id, int(n)) for page, n in zip(shown, drawn, strict=True) if n > 0]
        self._open = len(told)
        for start in range(0, len(told), MOST):
            await self._tell(told[start : start + MOST])

    async def _tell(self, told: Sequence[tuple[str, int]]) -> None:
        answer = await self.client.tell(json.dumps({"feedback": [_feedback(*one) for one in told]}).encode())
        self._open -= len(told)
        if answer.kind == OK:
            self.sent += len(told)
        else:
            self._failed(answer.kind, len(told), answer.detail)

    def _failed(self, kind: str, count: int, detail: str = "") -> None:
        if count:
            self.errors[kind] += count
            self.examples.setdefault(kind, detail)

    @property
    def report(self) -> ClicksReport:
        """So far."""
        return ClicksReport(
            pages=self.pages,
            clicks=self.clicks,
            sent=self.sent,
            failed=self.errors.total(),
            errors=dict(self.errors.most_common()),
            examples={kind: detail for kind, detail in self.examples.items() if detail},
        )


def _feedback(request_id: str, clicks: int) -> dict[str, object]:
    return {"request_id": request_id, "reward": clicks}


def _page(body: bytes, answer: Answer) -> Shown | None:
    if answer.request_id is None:
        return None
    return Shown(answer.request_id, json.loads(body)["user_id"], answer.items)
