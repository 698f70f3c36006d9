"""The report as one self-contained HTML page: no script, nothing fetched, light and dark."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from allocator.pfec.methods import EQUAL, GREENFLOW, ORACLE
from allocator.pfec.report import MethodReport, Report
from allocator.pfec.resample import Interval
from allocator.pfec.words import giga, headlines, interval_text, mega, percent, percent_interval

NONE = "–"
STYLE = """
:root { color-scheme: light dark; --ink: #1c2128; --soft: #5a6472; --line: #d8dde3; --paper: #fff; --stripe: #f5f7f9;
  --mark: #e3f4e9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ed; --soft: #9aa5b1; --line: #363d46; --paper: #14181d;
  --stripe: #1b2027; --mark: #173524; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p { max-width: 46rem; } .soft, figcaption, caption { color: var(--soft); font-size: .9rem; }
small { color: var(--soft); font-weight: 400; }
ul.main { padding: 1rem 1rem 1rem 2rem; background: var(--mark); border-radius: .5rem; }
figure { margin: 1rem 0; color: var(--ink); } figure svg { width: 100%; height: auto; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem;
  font-variant-numeric: tabular-nums; } caption { text-align: left; padding: .25rem 0; }
th, td { padding: .3rem .6rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-weight: 600; } td:first-child, th:first-child { text-align: left; }
tbody tr:nth-child(even) { background: var(--stripe); } tr.own td { font-weight: 600; }
code { font-size: .9em; overflow-wrap: anywhere; } dt { font-weight: 600; margin-top: .6rem; } dd { margin: 0; }
details { margin: .5rem 0; } summary { cursor: pointer; }
"""


def page(report: Report, svgs: Mapping[str, str]) -> str:
    """The whole page; `svgs` are elements by name (reward, gain, ablations, day)."""
    parts = [_head(report), _rewards(report, svgs), _equal_reward(report), _pfec(report)]
    parts += [_without(report, svgs), _day(report, svgs), _method(report)]
    title = f"PFEC: {escape(report.about.cascade)}"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _head(report: Report) -> str:
    about = report.about
    facts = (
        f"{about.world}. Reward: {about.gives}, in the top {about.k}. {about.held_out_users:,} held-out users, "
        f"{about.chains} chains; intervals are 95%, from {about.draws} draws of users."
    )
    lines = "".join(f"<li>{escape(line)}</li>" for line in headlines(report))
    return (
        f"<h1>Performance, FLOPs, energy, carbon: {escape(about.cascade)}</h1>\n"
        f'<p class="soft">{escape(facts)}</p>\n<ul class="main">{lines}</ul>'
    )


def _rewards(report: Report, svgs: Mapping[str, str]) -> str:
    headers = ("MFLOPs", "EQUAL", "GreenFlow", "oracle", "GreenFlow − EQUAL", "GreenFlow − static", "gap closed")
    equal, own, best = (report.method(name) for name in (EQUAL, GREENFLOW, ORACLE))
    rows = []
    for fixed, at, top in zip(equal.points, own.points, best.points, strict=True):
        gains = (interval_text(at.over_equal), interval_text(at.over_static), percent_interval(at.gap_share))
        rows.append((mega(at.budget_flops), *(_plain(p.reward) for p in (fixed, at, top)), *gains))
    note = (
        "Differences are paired by draw: to EQUAL at the same spend, to the static chain at its own. Gap closed: "
        "GreenFlow − EQUAL over oracle − EQUAL. No method that must predict can close it."
    )
    return (
        "<h2>Reward by budget</h2>\n"
        + _figure(svgs["reward"], "Mean reward of a held-out request over mean FLOPs. Bands: 95% over users.")
        + _figure(svgs["gain"], "Reward above EQUAL's at the same spend; bars are paired 95% intervals.")
        + _table(headers, rows, note)
    )


def _equal_reward(report: Report) -> str:
    shares = sorted({one.share_of_static for one in report.equal_reward}, reverse=True)
    by_method: dict[str, dict[float, str]] = {}
    for one in report.equal_reward:
        value = percent_interval(one.saving) if one.saving.value is not None else _unreached(one.reached)
        by_method.setdefault(one.label, {})[one.share_of_static] = value
    rows = [(label, *(values[share] for share in shares)) for label, values in by_method.items()]
    headers = (
        "less computation than the static chain",
        *(f"for {percent(share, 0)} of its reward" for share in shares),
    )
    note = (
        f"The static chain spends {mega(report.about.static_flops)} MFLOPs. An open end: in more than 2.5% of the "
        "draws that reward was not reached at any budget."
    )
    return "<h2>Computation at equal reward</h2>\n" + _table(headers, rows, note, own=report.method(GREENFLOW).label)


def _unreached(reached: float) -> str:
    return "not reached" if reached == 0 else f"not reached (in {percent(reached, 0)} of the draws it is)"


def _pfec(report: Report) -> str:
    """A table per budget: the middle one open, the others to be unfolded."""
    quality, middle = report.assumptions.quality, len(report.budgets_flops) // 2
    headers = ("method", "reward", "MFLOPs", f"J ({quality})", "g CO2e per million (assumed)", "against EQUAL")
    parts = ["<h2>Reward, FLOPs, energy and carbon by method</h2>"]
    for n, budget in enumerate(report.budgets_flops):
        rows = [_pfec_row(method, n) for method in (*report.methods, *report.ablations)]
        opened = " open" if n == middle else ""
        table = _table(headers, rows, own=report.method(GREENFLOW).label)
        parts.append(f"<details{opened}><summary>budget {mega(budget)} MFLOPs a request</summary>{table}</details>")
    said = (
        f"Energy is {report.assumptions.energy}. {NONE}: the method spends more than this budget whatever it chooses."
    )
    parts.append(f'<p class="soft">{escape(said)}</p>')
    return "\n".join(parts)


def _pfec_row(method: MethodReport, n: int) -> tuple[str, ...]:
    at = method.points[n]
    if at.spend_flops.value is None or at.joules is None or at.grams_per_million is None:
        return (method.label, *(NONE,) * 5)
    reward, spend = interval_text(at.reward, signed=False), mega(at.spend_flops.value)
    against = NONE if method.name == EQUAL else interval_text(at.over_equal)
    return method.label, reward, spend, f"{at.joules:.3g}", f"{at.grams_per_million:.3g}", against


def _without(report: Report, svgs: Mapping[str, str]) -> str:
    chosen = (report.method(GREENFLOW), *report.ablations)
    rows = [
        (mega(budget), *(interval_text(method.points[n].over_equal) for method in chosen))
        for n, budget in enumerate(report.budgets_flops)
    ]
    texts = "".join(f"<dt>{escape(m.label)}</dt><dd>{escape(m.about)}</dd>" for m in report.ablations)
    return (
        "<h2>What each part contributes</h2>\n"
        + _figure(svgs["ablations"], "Reward above EQUAL's at the same spend, with one thing taken away each.")
        + _table(("MFLOPs", *(method.label for method in chosen)), rows, "Reward above EQUAL's at the same spend.")
        + f"<dl>{texts}</dl>"
    )


def _day(report: Report, svgs: Mapping[str, str]) -> str:
    how = report.day_setting
    text = (
        f"{how.windows:,} windows of {how.window_s:g} s, {how.requests_per_s:g} requests a second on average, of "
        f"{how.users:,} held-out users; the limit is {giga(how.limit_flops_per_s)} GFLOPs a second in every window. "
        f"Prices step once a window and see {how.sample_rows} predicted rows, the spend and the number of requests. "
        "Simulated: no queue forms, spend above the limit is only counted."
    )
    headers = ("price", "utilisation", "over-use", "windows > 5% over", "TFLOPs", "kJ", "reward of a request")
    rows = [
        (
            run.label,
            percent(run.utilisation),
            percent(run.overuse),
            f"{run.over_windows:,}",
            f"{run.spend_flops / 1e12:.3g}",
            f"{run.joules / 1e3:.3g}",
            f"{run.reward:.4g}",
        )
        for run in report.day
    ]
    note = (
        "Utilisation: mean of min(spend, limit) / limit. Over-use: mean of max(spend − limit, 0) / limit. Who spends "
        "above the limit earns more by it. The last two lines are floors: the last one misses the limit by the "
        "sampling of requests alone, the one before it by news of the load as well, which nobody can foresee. "
        f"kJ: {report.assumptions.quality}."
    )
    caption = "Quarter-hours of the day: load, price, spend over the limit."
    return (
        f"<h2>A simulated day</h2>\n<p>{escape(text)}</p>\n"
        + _figure(svgs["day"], caption)
        + _table(headers, rows, note)
    )


def _method(report: Report) -> str:
    about = report.about
    sentences = (
        f"Trained and chosen on {about.training_users:,} users, judged on {about.held_out_users:,} others. Budgets, "
        "prices and decisions see predictions and costs of held-out users, never their rewards; only the oracle does.",
        "Intervals resample held-out users, the same draws for all methods. Prices of GreenFlow, its ablations and the "
        "oracle are solved anew on every draw; DCAF, CRAS and the one-shot price keep their decisions. That the reward "
        "model and EQUAL would differ with other training users is not in the intervals.",
        report.assumptions.carbon.statement[0].upper() + report.assumptions.carbon.statement[1:] + ".",
    )
    facts = (
        ("cascade", about.cascade),
        ("world", about.world),
        ("static chain", about.static_chain),
        ("reward model", f"SHA-256 {about.reward_model}"),
        ("seed", str(about.seed)),
    )
    texts = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    methods = "".join(f"<dt>{escape(m.label)}</dt><dd>{escape(m.about)}</dd>" for m in report.methods)
    listed = "".join(f"<dt>{escape(name)}</dt><dd><code>{escape(value)}</code></dd>" for name, value in facts)
    return f"<h2>How it was measured</h2>\n{texts}\n<dl>{methods}</dl>\n<dl>{listed}</dl>"


def _plain(figure: Interval) -> str:
    return NONE if figure.value is None else f"{figure.value:.3f}"


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>\n"


def _cell(text: str) -> str:
    """An interval stands below its figure, so that tables stay narrow."""
    value, bracket, rest = escape(text).partition(" (")
    return f"<td>{value}<br><small>({rest}</small></td>" if bracket else f"<td>{value}</td>"


def _table(headers: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", own: str = "") -> str:
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in headers)
    body = "".join(
        f"<tr{' class=own' if row[0] == own else ''}>" + "".join(map(_cell, row)) + "</tr>\n" for row in rows
    )
    said = f'<p class="soft">{escape(caption)}</p>' if caption else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>{said}\n'
