"""The card of a world model, a judge or a policy: what it is, how to use it, what is known."""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from worldeval.runs.passport import Passport

TAGS = ("robotics", "worldeval")


def model_card(
    *,
    title: str,
    summary: str,
    kind: str,
    facts: Mapping[str, Any],
    use: str,
    trust: Sequence[str],
    license: str | None,
) -> str:
    """Render the card as Markdown with the YAML front matter that the hub reads.

    Args:
        kind: a tag, such as `world-model`.
        facts: lines of "name: value"; None and empty values are left out.
        use: example code.
        trust: sentences that say how far to trust it.
    """
    head: dict[str, Any] = {
        "library_name": "worldeval",
        "pipeline_tag": "robotics",
        "tags": [*TAGS, kind],
    }
    if license is not None:
        head = {"license": license, **head}
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False).rstrip(),
        "---",
        "",
        f"# {title}",
        "",
        summary,
        "",
        *(f"- {name}: {value}" for name, value in facts.items() if value not in (None, "", ())),
        "",
        "## Use",
        "",
        "```python",
        use,
        "```",
        "",
        "## How far to trust it",
        "",
        *(f"- {sentence}" for sentence in trust),
        "",
    ]
    return "\n".join(lines)


def validated(passport: Passport | None) -> list[str]:
    """Say what the passport of a judge and its world model says of a comparison with truth."""
    if passport is None:
        return [
            "There is no passport: nothing says where it was compared with measured outcomes. A "
            "ranking by it is a hypothesis."
        ]
    scope, found = passport.scope, passport.validation
    said = [f"Its passport (`passport.json`) covers the tasks {', '.join(scope.tasks)}."]
    if found is None:
        said.append("It was never compared with measured outcomes: a ranking is a hypothesis.")
    else:
        said.append(
            f"Compared with measured outcomes of {found.policies} policies on {found.starts} "
            f"starts ({found.date[:10]}): "
            + ", ".join(f"{name} {value}" for name, value in found.agreement.items() if value.known)
            + "."
        )
        said += [f"Withheld: {refusal.text}" for refusal in found.refusals]
    if passport.uncalibrated:
        said.append("The judge never saw a recorded failure: its rates may not be quoted.")
    return said
