"""The dataset card: a README.md that says what the episodes are and how far to trust them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What an exported dataset holds, counted while it was written."""

    episodes: int
    frames: int
    fps: float
    views: Mapping[str, tuple[int, int]]
    tasks: Mapping[str, int]  # text -> episodes
    successes: int
    mean_probability: float | None  # that an episode succeeded, as the judge says


def dataset_card(
    contents: Contents,
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
        "tags": ["LeRobot", "synthetic", "world-model", "worldeval"],
        "configs": [{"config_name": "default", "data_files": "data/*/*.parquet"}],
    }
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
        " LeRobot v3.0",
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
        "The frames were imagined by a learned world model: they are not recordings. `next.success`"
        " is true on the last frame of the episodes that a learned judge holds to be successes; its"
        " probability, kept per episode, is what it was sure of. Weigh or filter by it, and mix in"
        " recorded episodes before a policy is trained on these for a real robot.",
        "",
    ]
    return "\n".join(lines)


def _judged(contents: Contents) -> str:
    said = f"{contents.successes} of {contents.episodes} judged successful"
    if contents.mean_probability is None:
        return said
    return f"{said}; mean probability of success {contents.mean_probability:.3f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(f"`{field}`" for field in fields)
