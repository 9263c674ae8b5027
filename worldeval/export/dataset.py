"""Imagined episodes as a LeRobot v3.0 dataset, with the provenance of every one."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from worldeval.data.lerobot.layout import Layout, Limits
from worldeval.data.lerobot.write import LeRobotWriter
from worldeval.data.names import numbered
from worldeval.errors import UserError
from worldeval.export.card import Contents, dataset_card
from worldeval.record import Episode

# What is known of every exported episode: `origin` is 'imagined' or 'recorded', and `probability`
# the judge's, that an imagined one succeeded.
PROVENANCE = ("origin", "world_model", "policy", "seed", "start", "judge", "probability")


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written."""

    out: Path
    episodes: int
    frames: int
    successes: int


def export_episodes(
    episodes: Iterable[tuple[Episode, Mapping[str, Any]]],
    out: Path,
    *,
    provenance_fields: Sequence[str] = PROVENANCE,
    facts: Mapping[str, Any] | None = None,
    title: str | None = None,
    summary: str = "Robot episodes imagined by a learned world model.",
    license: str | None = None,
    robot: str = "unknown",
    action_names: Sequence[str] | None = None,
    pose_names: Sequence[str] | None = None,
    limits: Limits | None = None,
) -> Exported:
    """Write episodes with their provenance; one episode is in memory at a time.

    Args:
        episodes: each with a record that has every one of `provenance_fields`, plain values.
        out: the folder to make; it appears when complete.
        facts: what is common to all episodes, for meta/provenance.json and the card.
        license: its short name for the card, left out where None.
        action_names, pose_names: of the dimensions; numbered where None.

    Raises:
        UserError: no episode, a record that lacks a field, or episodes that do not go together.
    """
    stream = iter(episodes)
    first = next(stream, None)
    if first is None:
        raise UserError("No episode is left to export. Loosen --select.")
    layout = _layout(first[0], action_names, pose_names, robot, limits)
    facts = dict(facts or {})
    lines: list[dict[str, Any]] = []
    tasks: Counter[str] = Counter()
    frames = successes = 0
    # Nothing is continued: another selection could hide behind the same facts.
    with LeRobotWriter(out, layout, fresh=True) as writer:
        for episode, record in chain([first], stream):
            missing = [field for field in provenance_fields if field not in record]
            if missing:
                raise UserError(
                    f"Episode '{episode.id}' has no {', '.join(missing)} in its provenance."
                )
            kept = {field: record[field] for field in provenance_fields}
            writer.add(episode, columns=kept)
            lines.append(
                {
                    "episode_index": len(lines),
                    "id": episode.id,
                    "task": episode.task,
                    "success": episode.success,
                    **kept,
                }
            )
            tasks[episode.task] += 1
            frames += len(episode)
            successes += episode.success is True
        known = (line.get("probability") for line in lines)
        judged = [float(value) for value in known if value is not None]
        contents = Contents(
            episodes=len(lines),
            frames=frames,
            fps=layout.fps,
            views=layout.views,
            tasks=dict(tasks.most_common()),
            successes=successes,
            recorded=sum(line.get("origin") == "recorded" for line in lines),
            mean_probability=sum(judged) / len(judged) if judged else None,
        )
        card = dataset_card(
            contents,
            title=title or out.name,
            summary=summary,
            license=license,
            facts=facts,
            fields=provenance_fields,
        )
        writer.finish(
            files={
                "README.md": card,
                "meta/provenance.json": json.dumps(facts, indent=2) + "\n",
                "meta/provenance.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
            }
        )
    return Exported(out=out, episodes=len(lines), frames=frames, successes=successes)


def _layout(
    episode: Episode,
    action_names: Sequence[str] | None,
    pose_names: Sequence[str] | None,
    robot: str,
    limits: Limits | None,
) -> Layout:
    actions, pose = episode.actions.shape[1], episode.pose.shape[1]
    return Layout(
        fps=episode.fps,
        views={view: (frames.shape[1], frames.shape[2]) for view, frames in episode.frames.items()},
        action_names=tuple(action_names or numbered("action", actions)),
        pose_names=tuple(pose_names or numbered("pose", pose)),
        robot=robot,
        limits=limits or Limits(),
    )
