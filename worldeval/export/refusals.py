"""What the checks of a run refused to claim, for those who train on its episodes."""

from collections.abc import Sequence
from pathlib import Path

from worldeval.errors import UserError
from worldeval.runs.paths import RunPaths
from worldeval.runs.summary import find_summary
from worldeval.stats.findings import Finding

# Refusals that concern the episodes themselves and their labels; others concern the order of the
# policies.
OF_EPISODES = (
    "false_success",
    "judge_uncalibrated",
    "judge_uninformative",
    "judge_differs_by_policy",
    "actions_ignored",
    "untrusted_rollouts",
)
UNCHECKED = "This run was not checked: `worldeval rank` makes the checks."


def refusals_of(run: Path, *, despite: bool) -> tuple[Finding, ...] | None:
    """Return what the run's checks refused to claim; None if nothing was checked.

    Raises:
        UserError: the episodes or their labels are among it, and `despite` is False.
    """
    summary = find_summary(run)
    if summary is None:
        return None
    found = [each for each in summary.refusals if each.code in OF_EPISODES]
    if found and not despite:
        listed = " ".join(f"({number}) {each.text}" for number, each in enumerate(found, 1))
        raise UserError(
            f"The checks of {run} refuse what a dataset would claim: {listed} Policies trained on "
            "these episodes would learn from wrong labels. Correct the world model or the judge "
            "first, or write the dataset with --despite-refusals; its card then says so. All "
            f"findings are in {RunPaths(run).summary}."
        )
    return summary.refusals


def card_section(refusals: Sequence[Finding] | None) -> list[str]:
    """Describe the refusals as lines of Markdown for a dataset card."""
    if refusals is None:
        return ["## What was checked", "", UNCHECKED, ""]
    if not refusals:
        return ["## What was checked", "", "No check of the run refused anything.", ""]
    return [
        "## What the checks of the run refused",
        "",
        *(f"- `{each.code}`: {each.text}" for each in refusals),
        "",
    ]
