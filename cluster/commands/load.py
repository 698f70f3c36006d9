"""`greenflow load`: traffic for a running server, and what it measured."""

import asyncio
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cluster.commands.replay_reward import synthetic_truth
from cluster.config import DEMO
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.clicks import Clicks
from cluster.traffic.load import DEFAULT_URL, LoadPlan, run_load
from cluster.traffic.report import ClicksReport, LoadReport, Progress
from cluster.traffic.world_users import WorldUsers
from models.loading import Cascade

DEFAULT_CLIENTS = 8
MOST_CHAINS = 10


def progress_line(second: Progress) -> str:
    """One line on the second that has just passed."""
    parts = [f"{second.elapsed_s:5.0f} s", f"{second.answered:6d} answers"]
    if second.p50_ms is not None and second.p99_ms is not None:
        parts.append(f"p50 {second.p50_ms:7.1f} ms  p99 {second.p99_ms:7.1f} ms")
    if second.failed:
        parts.append(f"{second.failed} failed")
    if second.overflow_so_far:
        parts.append(f"{second.overflow_so_far} not sent so far")
    if second.warming:
        parts.append("(warm-up)")
    return "  ".join(parts)


def report_table(report: LoadReport) -> Table:
    """The report for people."""
    table = Table(show_header=False, title=f"{report.loop} loop, {report.seconds:.1f} s, {report.url}")
    for name, value in _rows(report):
        table.add_row(name, value)
    return table


def _rows(report: LoadReport) -> list[tuple[str, str]]:
    offered = f"{report.clients} clients" if report.clients else f"{report.rate_per_s:g} requests/s"
    rows = [("offered", offered), ("throughput", f"{report.throughput_per_s:,.1f} answers/s")]
    if (latency := report.latency_ms) is not None:
        rows += [(f"latency {q.replace('_', '.')}", f"{ms:,.2f} ms") for q, ms in latency.model_dump().items()]
    if report.client_lag_ms is not None:
        rows.append(("of which the client, p99", f"{report.client_lag_ms:,.2f} ms"))
    rows.append(("requests", f"{report.sent:,} sent, {report.answered:,} answered, {report.failed:,} failed"))
    if report.overflow:
        rows.append(("not sent", f"{report.overflow:,} arrivals: too many requests in flight"))
    if report.degraded:
        rows.append(("degraded", f"{report.degraded:,}"))
    for kind, count in report.errors.items():
        example = report.examples.get(kind, "")
        rows.append((f"error: {kind}", f"{count:,}  {example}".rstrip()))
    rows += _chain_rows(report)
    rows += [] if report.clicks is None else _click_rows(report.clicks)
    rows.append(("client's own CPU", f"{report.client_cpu_s_per_request * 1e6:,.0f} µs per request"))
    return rows


def _click_rows(clicks: ClicksReport) -> list[tuple[str, str]]:
    rows = [
        ("clicks", f"{clicks.clicks:,} on {clicks.pages:,} pages: {clicks.per_page:.3f} per request"),
        ("feedback", f"{clicks.sent:,} sent, {clicks.failed:,} failed"),
    ]
    return rows + [
        (f"feedback: {kind}", f"{count:,}  {clicks.examples.get(kind, '')}".rstrip())
        for kind, count in clicks.errors.items()
    ]


def clicks_of(folder: Path, seed: int, world_seed: int, world_days: int | None) -> Clicks:
    """Users of the synthetic world that the cascade was made from. FixFile where it was made from none such."""
    cascade = Cascade.open(folder)
    truth = synthetic_truth(cascade, world_seed, world_days)[1]
    return WorldUsers(cascade.users.ids, cascade.items.ids, truth, seed)


def _chain_rows(report: LoadReport) -> list[tuple[str, str]]:
    """The chains that answered most, and how many others did: an allocator may use dozens."""
    chains = list(report.chains.items())
    shown = chains if len(chains) <= MOST_CHAINS else chains[: MOST_CHAINS - 1]
    rows = [(f"chain {c}", f"{n:,} ({n / report.sent:.1%})") for c, n in shown]
    if left := sum(n for _, n in chains[len(shown) :]):
        rows.append(
            (f"{len(chains) - len(shown)} other chains", f"{left:,} ({left / report.sent:.1%}); --json has all")
        )
    return rows


async def _stoppable(plan: LoadPlan, on_second: Callable[[Progress], None]) -> LoadReport:
    """Run the plan; the first Ctrl-C ends it early with a report, the second one at once."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def end_early() -> None:
        stop.set()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGINT, end_early)
    try:
        return await run_load(plan, on_second, stop)
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def run_fast(work: Coroutine[None, None, LoadReport]) -> LoadReport:
    """Run on uvloop where it is installed (ray[serve] brings it, but not on Windows): the client costs less."""
    factory: Callable[[], asyncio.AbstractEventLoop]
    try:
        import uvloop
    except ImportError:
        factory = asyncio.new_event_loop
    else:
        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(work)


def _opened(console: Console, folder: Path, *seeds: Any) -> Clicks:
    with console.status("opening the cascade and its world"):
        return clicks_of(folder, *seeds)


@click.command("load", context_settings={"show_default": True})
@click.argument("url", default=DEFAULT_URL)
@click.option(
    "--cascade",
    type=click.Path(path_type=Path, file_okay=False),
    help="The cascade that is served; its user table says whom to ask for.  [default: the shipped demo]",
)
@click.option("--clients", type=click.IntRange(1, 10_000), help="Closed loop with so many clients.  [default: 8]")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Open loop: requests a second, Poisson arrivals.")
@click.option(
    "--swing", type=click.FloatRange(0, 1), default=0.0, help="Open loop: the rate rises and falls by this share of it."
)
@click.option(
    "--swing-period", type=click.FloatRange(0, min_open=True), default=60.0, help="Seconds that --swing takes once."
)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=10.0, help="Measured time.")
@click.option("--warmup", type=click.FloatRange(0), default=1.0, help="Seconds of traffic before it counts.")
@click.option("--chain", help="Ask for this chain (see GET /v1/chains).  [default: the server chooses]")
@click.option("--unknown", type=click.FloatRange(0, 1), default=0.0, help="Share of users nobody knows.")
@click.option(
    "--max-in-flight", type=click.IntRange(1, 10_000), default=1024, help="Open loop: most requests under way at once."
)
@click.option("--timeout", type=click.FloatRange(0, min_open=True), default=10.0, help="Seconds for an answer.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Of the users, the arrival times and the clicks.")
@click.option(
    "--clicks",
    type=click.Choice(["synthetic"]),
    help="Users click by the truth of the synthetic world that the cascade was made from, and tell the server of it "
    "(POST /v1/feedback).  [default: no feedback]",
)
@click.option("--world-seed", type=click.IntRange(0), default=0, help="The seed that this world was made with.")
@click.option("--world-days", type=click.IntRange(3), help="The days it was made with.  [default: the demo's]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (progress goes to stderr anyway).")
@click.option("--allow-errors", is_flag=True, help="Exit with 0 though requests failed.")
def load(
    url: str,
    cascade: Path | None,
    clients: int | None,
    rate: float | None,
    swing: float,
    swing_period: float,
    seconds: float,
    warmup: float,
    chain: str | None,
    unknown: float,
    max_in_flight: int,
    timeout: float,
    seed: int,
    clicks: str | None,
    world_seed: int,
    world_days: int | None,
    as_json: bool,
    allow_errors: bool,
) -> None:
    """Send recommendation requests to a running server and report throughput, latencies and errors.

    Closed loop (--clients): each client sends its next request when the last one is answered. Open loop
    (--rate): requests arrive whatever the server does, and latency counts from the scheduled arrival.

    With --clicks, feedback that cannot be delivered is counted and shown, and changes nothing of the run.

    Ctrl-C ends the run and reports what was measured so far. The exit status is 1 when a request failed or
    could not be sent, unless --allow-errors is given, and 2 when the run could not start.

    \b
    Examples:
      greenflow load --clients 32 --seconds 20
      greenflow load http://127.0.0.1:8000 --rate 500 --seconds 60 --json > report.json
      greenflow load --rate 200 --swing 0.5 --seconds 300       traffic that rises and falls once a minute
      greenflow load --rate 100 --seconds 600 --clicks synthetic
    """
    if clients is not None and rate is not None:
        raise click.UsageError("name --clients (closed loop) or --rate (open loop), not both")
    if rate is None and swing:
        raise click.UsageError("--swing is of a --rate (open loop)")
    if clicks is not None and unknown:
        raise click.UsageError("--clicks has no truth about users that nobody knows: leave out --unknown")
    folder, progress = cascade or DEMO, Console(stderr=True, highlight=False)
    plan = LoadPlan(
        url=url,
        bodies=request_bodies(user_ids(folder), seed, unknown, chain),
        clients=None if rate is not None else clients or DEFAULT_CLIENTS,
        rate_per_s=rate,
        swing=swing,
        swing_s=swing_period,
        seconds=seconds,
        warmup_s=warmup,
        max_in_flight=max_in_flight,
        timeout_s=timeout,
        seed=seed,
        clicks=None if clicks is None else _opened(progress, folder, seed, world_seed, world_days),
    )
    report = run_fast(_stoppable(plan, lambda second: progress.print(progress_line(second))))
    if as_json:
        click.echo(report.model_dump_json())
    else:
        Console().print(report_table(report))
    sys.exit(0 if report.clean or allow_errors else 1)
