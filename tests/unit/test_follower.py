"""What a replica that ends still tells the controller."""

import asyncio

import numpy as np
import pytest
from fake_time import FakeTime

from cluster import follower as following
from cluster.accounts import Report
from cluster.follower import Follower, Tie
from cluster.snapshot import Answer
from cluster.tally import Tally
from cluster.work import Workbook

CHAINS = 3


class Desk:
    """Remembers reports, and answers them or never does."""

    def __init__(self, answers: bool) -> None:
        self._answers, self.reports = answers, list[Report]()

    async def report(self, report: Report) -> Answer:
        self.reports.append(report)
        if not self._answers:
            await asyncio.Event().wait()
        return Answer(None, 1.0)


@pytest.mark.parametrize("answers", [True, False])
def test_what_was_done_since_the_last_report_is_told_at_the_end_and_nobody_waits_for_long(
    answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LAST_S", 0.05)

    async def main() -> Desk:
        time, desk = FakeTime(), Desk(answers)
        tally = Tally(CHAINS, 4, np.random.default_rng(0), Workbook("here/cpu"))
        follower = Follower(Tie("r", CHAINS, "", 1.0, 10.0), tally, desk, time, time.sleep)
        tally.executed(np.array([0, 2, 2]), 30)
        async with asyncio.timeout(10):
            await follower.last()
        return desk

    (report,) = asyncio.run(main()).reports
    assert report.totals.executed.tolist() == [1, 0, 2]
