"""A report as one self-contained HTML page, to be sent and printed: no script, nothing fetched."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html import escape

from allocator.joules import Quality
from cluster.ledger.read import Period
from cluster.ledger.totals import DAY_S
from cluster.reporting import tables
from cluster.reporting.chart import PARTS, emissions_chart, energy_chart
from cluster.reporting.gather import Others
from cluster.reporting.methods import methods
from cluster.reporting.model import By, EnergyReport, Total
from cluster.reporting.reconcile import checks
from cluster.reporting.since import seconds
from cluster.reporting.style import STYLE
from cluster.reporting.words import NONE, carbon_scale, duration, energy_scale, known, number, percent, scaled

BY = {
    "hour": "Hour by hour",
    "day": "Day by day",
    "stage": "By stage",
    "variant": "By variant",
    "node": "By node",
}
TIMES: tuple[By, ...] = ("hour", "day")
KINDS: tuple[tuple[By, ...], ...] = (TIMES, ("variant", "stage"), ("node",))
MOST_HOURS = 72
LONG = 32
"""Lines more than this may be parted by the end of a sheet."""


def others(by: By) -> Others:
    """By what else a page tells: over time, by variant and by node, each once, with `by` in place of its kind."""

    def rest(period: Period) -> Sequence[By]:
        hours = period.length_s < DAY_S and period.until_s - period.since_s <= MOST_HOURS * 3600
        usual: tuple[By, ...] = ("hour" if hours else "day", "variant", "node")
        return [other for other, kind in zip(usual, KINDS, strict=True) if by not in kind]

    return rest


def page(reports: Sequence[EnergyReport]) -> str:
    """The whole page, of one period by different lines; in ASCII, so that no terminal or file can spoil its letters."""
    report = reports[0]
    ordered = [one for kind in KINDS for one in reports if one.by in kind]
    parts = [_head(report), _tiles(report), _bars(report.total), *_over_time(ordered), *_savings(report)]
    parts += [_lines(one) for one in ordered if one.by not in TIMES]
    parts += [*_basis(report), _methods(report), _reconciled(ordered)]
    parts += [_lines(one) for one in ordered if one.by in TIMES]  # the longest comes last
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Energy and carbon {report.since[:10]} to {report.until[:10]}</title>\n<style>{STYLE}</style>\n"
        "</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _section(title: str, inside: str, kind: str = "") -> str:
    return f"<section{kind}><h2>{escape(title)}</h2>\n{inside}</section>"


def _lines(report: EnergyReport) -> str:
    long = " class=long" if len(report.rows) > LONG else ""
    return _section(BY[report.by], tables.lines(report), long)


def _head(report: EnergyReport) -> str:
    cascades = sorted({term.cascade for term in report.basis.served})
    of = f" of cascade {', '.join(cascades)}" if cascades else ""
    named, whole = _named(report), f"{_spelled(report.since)} to {_spelled(report.until)}"
    covered = f"{duration(report.total.covered_s)} billed, {report.total.requests:,} requests"
    period = f"{whole} UTC" if named else "UTC"
    told = f"{period} · {covered} · told {_spelled(report.basis.made)} UTC by GreenFlow {report.basis.software}"
    return (
        f"<header><p class=kind>Energy and carbon{escape(of)}</p>\n<h1>{escape(named or whole)}</h1>\n"
        f'<p class="soft">{escape(told)}</p></header>'
    )


def _named(report: EnergyReport) -> str:
    """A month or a day, as it was asked for or is told of; "" for any other period."""
    asked = report.basis.asked_since, report.basis.asked_until
    for since, until in (asked, (report.since, report.until)):
        if since is not None and until is not None:
            first, last = (datetime.fromtimestamp(seconds(one), UTC) for one in (since, until))
            whole = (first.hour, first.minute, last.hour, last.minute) == (0, 0, 0, 0)
            if whole and (last - first).days == 1:
                return f"{first.day} {first:%B %Y}"
            if whole and first.day == last.day == 1 and 28 <= (last - first).days <= 31:
                return f"{first:%B %Y}"
    return ""


def _spelled(moment: str) -> str:
    return moment.replace("T", " ").removesuffix("Z")


def _tiles(report: EnergyReport) -> str:
    total = report.total
    (power,), watt = scaled([total.energy_j / total.covered_s if total.covered_s else 0.0], "W")
    energy = energy_scale(report)
    tiles = [
        _tile(energy.text(total.energy_j), energy.unit, known(total.known)),
        *_carbon_tiles(report),
        _tile(power, f"{watt} on average", f"of all machines, over {duration(total.covered_s)}"),
        _tile(
            number(total.joules_per_request),
            "J a request",
            f"{number(total.loaded_joules_per_request)} J with idle and unattributed shared out",
        ),
        *_saved_tile(report),
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _carbon_tiles(report: EnergyReport) -> Iterator[str]:
    scale = carbon_scale(report)
    for one in report.total.emissions:
        grid = f"{one.intensity.value} intensity, {number(one.mean_g_per_kwh)} g/kWh; {known(one.known)}"
        yield _tile(scale.text(one.kg_co2e), f"{scale.unit} CO2e", grid)
    if not report.total.emissions:
        yield _tile(NONE, "kg CO2e", "nobody knew the grid's intensity")


def _saved_tile(report: EnergyReport) -> Iterator[str]:
    saved = None if report.savings is None else report.savings.energy_j.relative
    if saved is not None:
        said = f"{percent(saved.low)} to {percent(saved.high)} of the static chain's energy, idle left out"
        yield _tile(percent(saved.value), "saved", said)


def _tile(figure: str, unit: str, says: str) -> str:
    return f'<div class="tile"><b>{escape(figure)} <small>{escape(unit)}</small></b><span>{escape(says)}</span></div>'


def _bars(total: Total) -> str:
    joules = (total.attributed_j, total.idle_j, total.unattributed_j)
    whole = total.energy_j or 1.0
    went = [(name, label, part / whole) for (name, label), part in zip(PARTS, joules, strict=True)]
    how = [(quality.value, quality.value, getattr(total.known, quality.value)) for quality in Quality]
    return f'<div class="pair">{_bar("What it went to", went)}{_bar("How it is known", how)}</div>'


def _bar(title: str, parts: Sequence[tuple[str, str, float]]) -> str:
    stretch = "".join(
        f'<i class="{name}" style="flex:{max(0.0, share):.5f}"></i>' for name, _, share in parts if share > 0
    )
    return f'<section class="card"><h2>{title}</h2><div class="bar">{stretch}</div>{_key(parts)}</section>'


def _key(parts: Sequence[tuple[str, str, float]]) -> str:
    said = "".join(
        f'<li><i class="{name}"></i>{escape(label)} {escape(percent(share))}</li>' for name, label, share in parts
    )
    return f'<ul class="key">{said}</ul>'


def _over_time(reports: Sequence[EnergyReport]) -> Iterator[str]:
    for report in reports:
        if report.by in TIMES:
            key = "".join(f'<li><i class="{name}"></i>{escape(label)}</li>' for name, label in PARTS)
            drawn = f'<div class="card">{energy_chart(report)}<ul class="key">{key}</ul></div>'
            yield _section(f"Energy, {BY[report.by].lower()}", drawn)
            for one in report.total.emissions:
                drawn = f'<div class="card">{emissions_chart(report, one.intensity)}</div>'
                yield _section(f"Emissions by {one.intensity.value} intensity, {BY[report.by].lower()}", drawn)


def _savings(report: EnergyReport) -> Iterator[str]:
    told = report.savings
    if told is not None and told.holdback_requests:
        said = (
            f"Measured against {told.holdback_requests:,} requests held back, by {told.policy_requests:,} others, "
            "since the experiment began. Below each figure the bounds of its 95% confidence sequence."
        )
        yield _section("Saved", f'<p class="soft">{escape(said)}</p>{tables.savings(told)}')


def _basis(report: EnergyReport) -> Iterator[str]:
    yield _section("Sensors", tables.sensors(report))
    if report.basis.limit_changes:
        yield _section("Limits that were changed", tables.changes(report.basis.limit_changes))


def _methods(report: EnergyReport) -> str:
    listed = [*methods(report)]
    if (made := report.embodied) is not None:
        said = (
            f"{number(made.kg_co2e)} kg CO2e of making the machines, {number(made.g_per_h)} g/h as stated: in no total."
        )
        listed.insert(6, ("Embodied", said))
    told = "".join(f"<dt>{escape(name)}</dt><dd>{escape(says)}</dd>" for name, says in listed)
    return _section("Scope and method", f'<div class="card"><dl>{told}</dl></div>', " class=long")


def _reconciled(reports: Sequence[EnergyReport]) -> str:
    found = list(checks(reports))
    wrong = [check for check in found if not check.agrees]
    said = f"{len(wrong)} of {len(found)} do not agree." if wrong else f"All {len(found)} agree to a millionth."
    return _section("Does it add up?", f'<p class="soft">{said}</p>{tables.reconciled(found)}')
