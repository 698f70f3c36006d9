"""The evaluation as a whole: who may win, who may not, the day, and the files."""

import csv
import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from pfec_case import CARBON, FOOTPRINT, about_of, case_of, case_of_alike

from allocator.pfec.case import Case
from allocator.pfec.day import Day, DayPlan
from allocator.pfec.evaluate import Plan, evaluate, steps
from allocator.pfec.files import check_folder, write
from allocator.pfec.methods import EQUAL, GREENFLOW, ORACLE, STATIC
from allocator.pfec.report import Report
from allocator.pfec.resample import Interval
from allocator.pfec.words import headlines
from models.errors import FixFile

SHORT = DayPlan(windows=60, swing=0.2, second=0.05, groups=12)
PLAN = Plan(budgets=8, draws=60, day=SHORT)


def judged(case: Case, plan: Plan = PLAN) -> Report:
    return evaluate(case, about_of(case, plan.draws), FOOTPRINT, CARBON, plan)


@pytest.fixture(scope="module")
def report() -> Report:
    return judged(case_of())


@pytest.fixture(scope="module")
def written(report: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("report") / "new" / "folder"
    assert {path.parent for path in write(report, folder)} == {folder}
    return folder


def test_at_equal_spend_nobody_beats_the_oracle(report: Report) -> None:
    for method in (*report.methods, *report.ablations):
        for at in method.points:
            if at.gap_share.value is not None:
                assert at.gap_share.value <= 1 + 1e-6, method.label


def test_spend_stays_within_the_budget_where_it_is_promised(report: Report) -> None:
    for name in ("random", "equal-chain", EQUAL, GREENFLOW, ORACLE, "not-personal", "only-items", "only-variants"):
        for at in report.method(name).points:
            if at.spend_flops.value is not None:
                assert at.spend_flops.value <= at.budget_flops * (1 + 1e-6), name


def test_personal_predictions_win_where_users_differ(report: Report) -> None:
    gains = [at.over_equal for at in report.method(GREENFLOW).points[1:-2]]
    assert all(gain.low is not None and gain.low > 0 for gain in gains)


def test_perfect_predictions_close_the_whole_gap() -> None:
    case = case_of()
    perfect = judged(replace(case, predictions=case.rewards))
    for at in perfect.method(GREENFLOW).points[:-1]:
        assert at.gap_share.value == pytest.approx(1.0, rel=1e-6)


def test_where_all_users_are_alike_there_is_no_false_gain() -> None:
    report = judged(case_of_alike())
    for at in report.method(GREENFLOW).points:
        assert not (at.over_equal.low is not None and at.over_equal.low > 0)
    assert any("earns more than EQUAL at 0 of 8 budgets" in line for line in headlines(report))


def test_what_a_method_never_earns_is_said_in_words(report: Report) -> None:
    never, sure = Interval(value=None, low=None, high=None), Interval(value=0.6, low=0.5, high=0.7)
    savings = {EQUAL: never, GREENFLOW: sure}
    needs = [one.model_copy(update={"saving": savings.get(one.name, one.saving)}) for one in report.equal_reward]
    first = next(iter(headlines(report.model_copy(update={"equal_reward": needs}))))
    assert "60.0% (50.0% to 70.0%) less computation; EQUAL does so at no budget." in first


def test_without_personal_predictions_greenflow_is_a_fixed_mix() -> None:
    case = case_of()
    means = np.tile(case.training_means, (len(case.rewards), 1))
    report = judged(replace(case, predictions=means, training_predictions=means))
    for at in report.method("not-personal").points:
        assert at.over_equal.value == pytest.approx(0.0, abs=1e-9)


def test_the_static_chain_has_figures_only_where_it_is_within_the_budget(report: Report) -> None:
    spends = [at.spend_flops.value for at in report.method(STATIC).points]
    assert spends[:-1] == [None] * 7
    assert spends[-1] == report.about.static_flops


def test_computation_at_equal_reward_is_what_the_curve_says(report: Report) -> None:
    curve = report.method(GREENFLOW).curve
    (needs,) = [one for one in report.equal_reward if one.name == GREENFLOW and one.share_of_static == 0.95]
    assert needs.spend_flops.value is not None
    wanted = 0.95 * report.method(STATIC).curve.reward[0]
    assert np.interp(needs.spend_flops.value, curve.spend_flops, curve.reward) == pytest.approx(wanted)
    assert needs.saving.value == pytest.approx(1 - needs.spend_flops.value / report.about.static_flops)


def test_joules_and_grams_follow_from_the_spend(report: Report) -> None:
    for at in report.method(GREENFLOW).points:
        assert at.spend_flops.value is not None
        assert at.joules == pytest.approx(at.spend_flops.value / 1e9)
        assert at.grams_per_million == pytest.approx(at.joules * 1e6 / 3.6e6 * 1.5 * 400)


def test_the_same_seed_gives_the_same_report_and_another_seed_other_intervals(report: Report) -> None:
    assert judged(case_of()) == report
    other = judged(case_of(), replace(PLAN, seed=1))
    mine, others = (one.method(GREENFLOW).points[2].over_equal for one in (report, other))
    assert mine.value == pytest.approx(others.value)
    assert mine.low != others.low


def test_progress_is_told_once_a_step() -> None:
    told: list[str] = []
    case = case_of(users=30, training=30)
    evaluate(case, about_of(case, 20), FOOTPRINT, CARBON, replace(PLAN, draws=20), told.append)
    assert len(told) == steps()


def test_over_a_day_online_prices_keep_the_limit_and_a_price_for_the_mean_does_not(report: Report) -> None:
    by_name = {run.name: run for run in report.day}
    assert by_name["foreseen"].utilisation > 0.98
    assert by_name["online-predictive"].utilisation > 0.95
    assert by_name["online-predictive"].overuse < 0.05
    assert by_name["one-shot-mean"].overuse > 0.05
    assert by_name["one-shot-peak"].utilisation < 0.8
    prices = {span.price for span in by_name["one-shot-mean"].spans}
    assert max(prices) == pytest.approx(min(prices))


def test_all_runs_of_a_day_see_the_same_requests() -> None:
    runs = list(Day(case_of(users=40, training=40), 8000.0, seed=2, plan=SHORT).runs())
    assert len(runs) == 7
    for run in runs[1:]:
        np.testing.assert_array_equal(run.requests, runs[0].requests)


def test_the_more_is_known_of_loads_the_less_is_overspent() -> None:
    plan = replace(SHORT, noise=0.3, rate=1000.0)
    runs = {run.name: run for run in Day(case_of(users=40, training=40), 8000.0, seed=2, plan=plan).runs()}
    assert runs["foreseen"].overuse < runs["foreseeable"].overuse < runs["online-predictive"].overuse


def test_what_can_be_foreseen_of_a_load_is_right_on_average_and_misses_the_news() -> None:
    plan = DayPlan(windows=20_000)
    surprise = np.log(plan.load(seed=3) / plan.foreseeable(seed=3))
    news = plan.noise * np.sqrt(1 - plan.memory**2)
    assert surprise.std() == pytest.approx(news, rel=0.05)
    assert np.exp(surprise).mean() == pytest.approx(1.0, abs=4 * news / np.sqrt(plan.windows))
    assert abs(np.corrcoef(surprise[1:], surprise[:-1])[0, 1]) < 0.04


def test_a_days_mean_load_is_its_rate() -> None:
    load = DayPlan().load(seed=3)
    assert load.mean() == pytest.approx(DayPlan().rate * 60)
    assert load.max() / load.min() > 3
    assert 2 < load.argmin() / 60 < 6


def test_a_limit_below_the_cheapest_chain_leaves_the_day_saturated() -> None:
    case = case_of(users=40, training=40)
    for run in Day(case, float(case.cost.min()) * 0.5, seed=0, plan=SHORT).runs():
        assert np.isfinite(run.price).all()


class Page(HTMLParser):
    """Collects what a page would fetch, and checks that elements close."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        self.fetched += [str(given[a]) for a in ("src", "href", "xlink:href") if a in given]
        assert tag != "script"

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_fetches_nothing(written: Path) -> None:
    text = (written / "report.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert all(address.startswith("#") and address[1:] in page.ids for address in page.fetched)
    assert "@import" not in text
    assert "small &lt;world&gt;" in text
    assert "J (assumed)" in text
    assert "prefers-color-scheme: dark" in text
    assert text.count("<svg") == 4


def test_json_and_csv_hold_the_same_figures(written: Path) -> None:
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    with (written / "methods.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 12 * 8
    mine = [row for row in rows if row["method"] == GREENFLOW]
    points = next(m for m in document["methods"] if m["name"] == GREENFLOW)["points"]
    assert [float(row["reward_low95"]) for row in mine] == [at["reward"]["low"] for at in points]
    assert float(mine[0]["joules_assumed"]) == points[0]["joules"]
    assert {path.suffix for path in written.iterdir()} == {".html", ".json", ".csv", ".png"}
    with (written / "day.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 7 * 12


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(FixFile, match="name another"):
        check_folder(tmp_path / "taken")
