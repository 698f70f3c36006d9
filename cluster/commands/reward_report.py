"""What `greenflow train-reward` reports: as JSON, and for people."""

from pydantic import BaseModel, ConfigDict
from rich import box
from rich.console import Console
from rich.table import Table

from allocator.reward_report import Quality, gap_closed, table_of
from allocator.table import Manifest
from allocator.violations import Violations


class RewardReport(BaseModel):
    """What was trained on what, how good it is on held-out users, and what the table says of the assumptions.

    training_users counts those of the table, training_contexts also the past requests of other tables.
    """

    model_config = ConfigDict(frozen=True)

    table: Manifest
    more: tuple[Manifest, ...]
    training_users: int
    training_contexts: int
    held_out_users: int
    free_stages: tuple[str, ...]
    models: tuple[Quality, ...]
    violations: tuple[Violations, ...]


def show(console: Console, report: RewardReport) -> None:
    """Print it as tables."""
    headers = ("model", "R²", "within users", "personal", "rank corr.", "calibration", "regret", "gain over fixed")
    models = Table(*headers, box=box.SIMPLE_HEAD, title=f"{report.held_out_users:,} held-out users")
    for line in table_of(report.models):
        models.add_row(*line)
    console.print(models)
    names = ("FLOPs", "fixed", "allocated", "oracle", "gain, 95%")
    budgets = Table(*names, box=box.SIMPLE_HEAD, title=f"reward by budget, {report.models[0].name}")
    for at in report.models[0].budgets:
        gain = f"{at.interval[0]:+.3f} to {at.interval[1]:+.3f}"
        budgets.add_row(f"{at.flops:,.0f}", f"{at.fixed:.3f}", f"{at.earned:.3f}", f"{at.oracle:.3f}", gain)
    console.print(budgets)
    title = "share of the gap from fixed to oracle that is closed, * where zero is outside the 95% interval"
    gap = Table("FLOPs", *(model.name for model in report.models), box=box.SIMPLE_HEAD, title=title)
    for line in gap_closed(report.models):
        gap.add_row(*line)
    console.print(gap)
    titles = ("stage", "variant", "falls", "bends", "falls of the mean", "mean fall", "fall share", "worst")
    broken = Table(*titles, box=box.SIMPLE_HEAD, title="where more items do not earn more, or gain more and more")
    for one in report.violations:
        shares = (one.falls, one.bends, one.mean_falls)
        figures = (*(f"{share:.0%}" for share in shares), f"{one.mean_fall:.3f}", f"{one.fall_share:.0%}")
        broken.add_row(one.stage, f"[red]{one.variant}[/red]" if one.guilty else one.variant, *figures, one.worst)
    console.print(broken)
    freed = ", ".join(report.free_stages) or "none"
    console.print(f"stages left free of structure: {freed}", highlight=False)
