"""What the figures of a report are drawn from."""

from worldeval.report.contents import ReportContents
from worldeval.report.figures import Panel, Point
from worldeval.report.number import short


def rate_points(contents: ReportContents) -> list[Point]:
    """Return a point for every policy that was measured, best first."""
    return [
        Point(name=row.policy, predicted=row.predicted, real=row.truth)
        for row in contents.rows
        if row.truth is not None
    ]


def rate_panels(contents: ReportContents) -> list[Panel]:
    """Return a panel for every task with a measured policy."""
    panels = []
    for task in contents.tasks:
        points = tuple(
            Point(name=cell.policy, predicted=cell.predicted, real=cell.truth)
            for cell in task.cells
            if cell.truth is not None
        )
        rho = "" if task.spearman is None else f"\nSpearman {short(task.spearman)}"
        panels += [Panel(title=f"{task.task}{rho}", points=points)] if points else []
    return panels
