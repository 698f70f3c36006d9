"""What a load run saw: one record per request, and the report that they add up to."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

OK = "ok"
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99_9": 0.999, "max": 1.0}


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request ended.

    kind     "ok", or what went wrong: "http 503", "timeout", "connection refused", "not a recommendation" ..
    status   HTTP status, None when no answer came
    chain    id of the chain that answered, None where the answer names none
    detail   the error in words, for the first one of its kind
    request_id, items, arm  of a recommendation: its id, the ids of its items, and the arm of the standing experiment
    """

    kind: str
    status: int | None = None
    chain: str | None = None
    degraded: bool = False
    detail: str = ""
    request_id: str | None = None
    items: tuple[int | str, ...] = ()
    arm: str | None = None


class Latency(BaseModel):
    """Latencies of the answered requests in milliseconds; the nearest rank, so each one was really seen."""

    model_config = ConfigDict(frozen=True)
    mean: float
    p50: float
    p90: float
    p99: float
    p99_9: float
    max: float


class ClicksReport(BaseModel):
    """What users clicked on, warm-up included, and what became of the feedback.

    pages           good answers that users looked at
    sent, failed    pages with clicks that the server was told of, and pages that it could not be told of
    errors, examples  the failed ones by kind, and the first error of each kind in words
    """

    model_config = ConfigDict(frozen=True)
    pages: int
    clicks: int
    sent: int
    failed: int
    errors: dict[str, int]
    examples: dict[str, str]

    @property
    def per_page(self) -> float:
        """Clicks per page; 0 of none."""
        return self.clicks / self.pages if self.pages else 0.0


class LoadReport(BaseModel):
    """Everything a load run has to say.

    A request belongs to the run when it was due after the warm-up. `answered + failed == sent`.
    seconds                   length of the measured window, without warm-up and the wait for the last answers
    throughput_per_s          good answers that came within the window, per second
    overflow                  open loop: arrivals that were not sent, because too many requests were in flight
    latency_ms                of good answers. Closed loop: from sending; open loop: from the scheduled arrival
    client_lag_ms             open loop: the part of it that the client was late to send, at p99
    errors, examples          failed requests by kind, and the first error of each kind in words
    client_cpu_s_per_request  CPU time of this process per request, warm-up included
    complete                  False when the run was stopped before its time
    clicks                    where users clicked
    """

    model_config = ConfigDict(frozen=True)
    url: str
    loop: Literal["closed", "open"]
    clients: int | None
    rate_per_s: float | None
    seconds: float
    complete: bool
    sent: int
    answered: int
    failed: int
    overflow: int
    degraded: int
    throughput_per_s: float
    latency_ms: Latency | None
    client_lag_ms: float | None
    statuses: dict[str, int]
    errors: dict[str, int]
    examples: dict[str, str]
    chains: dict[str, int]
    client_cpu_s_per_request: float
    clicks: ClicksReport | None = None

    @property
    def clean(self) -> bool:
        """Whether every request that was due got a good answer."""
        return self.failed == 0 and self.overflow == 0


@dataclass(frozen=True, slots=True)
class Progress:
    """The second that has just passed: `elapsed_s` counts from the start of the warm-up."""

    elapsed_s: float
    warming: bool
    answered: int
    failed: int
    failed_so_far: int
    overflow_so_far: int
    p50_ms: float | None
    p99_ms: float | None


def latency_of(latencies_s: "array[float] | list[float]") -> Latency | None:
    """Quantiles in milliseconds of latencies in seconds, by nearest rank; None of none."""
    if not len(latencies_s):
        return None
    values_ms = np.asarray(latencies_s) * 1e3
    ranks = np.quantile(values_ms, list(QUANTILES.values()), method="inverted_cdf")
    return Latency(mean=float(values_ms.mean()), **dict(zip(QUANTILES, ranks.tolist(), strict=True)))


@dataclass
class Recorder:
    """Counts requests. `begins_s` and `ends_s` bound the measured window on the clock of `add`."""

    begins_s: float
    ends_s: float
    latencies_s: "array[float]" = field(default_factory=lambda: array("d"))
    lags_s: "array[float]" = field(default_factory=lambda: array("d"))
    kinds: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    chains: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    all_sent: int = 0
    degraded: int = 0
    overflow: int = 0
    answered_in_time: int = 0
    complete: bool = True
    _second: "array[float]" = field(default_factory=lambda: array("d"))
    _second_failed: int = 0

    def add(self, due_s: float, sent_s: float, done_s: float, answer: Answer) -> None:
        """Count a request that was due, sent and done at these times."""
        self.all_sent += 1
        good = answer.kind == OK
        if good:
            self._second.append(done_s - due_s)
            self.answered_in_time += self.begins_s <= done_s < self.ends_s
        else:
            self._second_failed += 1
        if due_s >= self.begins_s:
            self._count(answer)
            self.lags_s.append(sent_s - due_s)
            if good:
                self.latencies_s.append(done_s - due_s)

    def _count(self, answer: Answer) -> None:
        self.kinds[answer.kind] += 1
        if answer.status is not None:
            self.statuses[str(answer.status)] += 1
        if answer.chain is not None:
            self.chains[answer.chain] += 1
        self.degraded += answer.degraded
        if answer.detail:
            self.examples.setdefault(answer.kind, answer.detail)

    def overflowed(self, due_s: float) -> None:
        """Count an arrival that was not sent."""
        self.overflow += due_s >= self.begins_s

    def cut(self, at_s: float) -> None:
        """End the measured window early, at `at_s`."""
        if at_s < self.ends_s:
            self.ends_s, self.complete = at_s, False

    @property
    def failed(self) -> int:
        """Requests of the window that got no good answer."""
        return self.kinds.total() - self.kinds[OK]

    def turn_second(self, elapsed_s: float, now_s: float) -> Progress:
        """What came since the last call, which is then forgotten."""
        quantiles = latency_of(self._second)
        progress = Progress(
            elapsed_s=elapsed_s,
            warming=now_s < self.begins_s,
            answered=len(self._second),
            failed=self._second_failed,
            failed_so_far=self.failed,
            overflow_so_far=self.overflow,
            p50_ms=quantiles.p50 if quantiles else None,
            p99_ms=quantiles.p99 if quantiles else None,
        )
        self._second, self._second_failed = array("d"), 0
        return progress

    def report(self, url: str, clients: int | None, rate_per_s: float | None, cpu_s: float) -> LoadReport:
        """The report of a run that used `cpu_s` of this process."""
        seconds = max(0.0, self.ends_s - self.begins_s)
        lag = latency_of(self.lags_s)
        return LoadReport(
            url=url,
            loop="closed" if rate_per_s is None else "open",
            clients=clients,
            rate_per_s=rate_per_s,
            seconds=seconds,
            complete=self.complete,
            sent=self.kinds.total(),
            answered=self.kinds[OK],
            failed=self.failed,
            overflow=self.overflow,
            degraded=self.degraded,
            throughput_per_s=self.answered_in_time / seconds if seconds else 0.0,
            latency_ms=latency_of(self.latencies_s),
            client_lag_ms=lag.p99 if lag and rate_per_s is not None else None,
            statuses=dict(self.statuses.most_common()),
            errors={kind: n for kind, n in self.kinds.most_common() if kind != OK},
            examples=self.examples,
            chains=dict(self.chains.most_common()),
            client_cpu_s_per_request=cpu_s / self.all_sent if self.all_sent else 0.0,
        )
