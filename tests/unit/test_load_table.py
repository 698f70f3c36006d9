"""The table of `greenflow load`, where an allocator chose among many chains."""

from rich.console import Console

from cluster.commands.load import MOST_CHAINS, report_table
from cluster.traffic.report import LoadReport


def table_of(chains: dict[str, int]) -> str:
    sent = sum(chains.values())
    report = LoadReport(
        url="http://here", loop="closed", clients=1, rate_per_s=None, seconds=1.0, complete=True, sent=sent,
        answered=sent, failed=0, overflow=0, degraded=0, throughput_per_s=sent, latency_ms=None, client_lag_ms=None,
        statuses={}, errors={}, examples={}, chains=chains, client_cpu_s_per_request=0.0,
    )  # fmt: skip
    console = Console(width=100, record=True)
    with console.capture() as shown:
        console.print(report_table(report))
    return shown.get()


def test_few_chains_are_all_named() -> None:
    text = table_of({f"c{n}": 1 for n in range(MOST_CHAINS)})
    assert all(f"chain c{n} " in text for n in range(MOST_CHAINS))
    assert "other chains" not in text


def test_of_many_chains_the_rarest_are_counted_together() -> None:
    text = table_of({f"c{n}": 60 - n for n in range(MOST_CHAINS + 3)})
    assert text.count("chain c") == MOST_CHAINS - 1
    left = sum(60 - n for n in range(MOST_CHAINS - 1, MOST_CHAINS + 3))
    assert "4 other chains" in text
    assert f"{left} (" in text
