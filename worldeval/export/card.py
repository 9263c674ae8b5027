"""The dataset card: a README.md that says what the episodes are and how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, kw_only=True)
class ExportCounts:
    """What an exported dataset holds, counted while it was written."""

    format: str
    episodes: int
    frames: int
    fps: float
    views: Mapping[str, tuple[int, int]]
    tasks: Mapping[str, int]  # text -> episodes
    successes: int
    recorded: int  # episodes that were not imagined
    mean_probability: float | None  # that an episode succeeded, as the judge says


def dataset_card(
    contents: ExportCounts,
    *,
    title: str,
    summary: str,
    license: str | None,
    facts: Mapping[str, Any],
    fields: Sequence[str],
) -> str:
    """Markdown with the YAML head that dataset hubs read."""
    head: dict[str, Any] = {
        "task_categories": ["robotics"],
        "tags": [contents.format.split()[0], "synthetic", "world-model", "worldeval"],
    }
    if contents.format.startswith("LeRobot"):
        head["configs"] = [{"config_name": "default", "data_files": "data/*/*.parquet"}]
    if license is not None:
        head = {"license": license, **head}
    views = ", ".join(f"`{view}` ({h} x {w})" for view, (h, w) in contents.views.items())
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).rstrip(),
        "---",
        "",
        f"# {title}",
        "",
        summary,
        "",
        f"- {contents.episodes} episodes, {contents.frames} frames at {contents.fps:g} a second,"
        f" {contents.format}",
        f"- views: {views}",
        f"- {_judged(contents)}",
        "",
        "| task | episodes |",
        "|---|---|",
        *(f"| {_cell(task) or '(no text)'} | {count} |" for task, count in contents.tasks.items()),
        "",
        "## Where it comes from",
        "",
        *(f"- {name}: `{value}`" for name, value in facts.items()),
        "",
        f"`meta/provenance.jsonl` has a line for every episode with {_listed(fields)}. "
        "`meta/provenance.json` has what is common to all of them.",
        "",
        "## How far to trust it",
        "",
        "Frames of `origin` 'imagined' come from a learned world model: they are not recordings."
        " An imagined episode counts as a success where a judge gives it a probability of success"
        " of at least one half; that probability is kept per episode. `trust`, from 0 to 1, is 1"
        " less the largest doubt: how far apart the judge's members are, and what share of the"
        " policy's action numbers had to be clipped. Weigh or filter by both, and mix in recorded"
        " episodes before a policy for a real robot is trained on these.",
        "",
    ]
    return "\n".join(lines)


def _judged(contents: ExportCounts) -> str:
    said = f"{contents.successes} of {contents.episodes} successful"
    if contents.mean_probability is not None:
        said += f"; mean probability, as the judge says, {contents.mean_probability:.3f}"
    if contents.recorded:
        said += f"; {contents.recorded} are recorded, not imagined, with the success recorded"
    return said


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(f"`{field}`" for field in fields)
