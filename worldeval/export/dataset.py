"""Write imagined episodes as a LeRobot v3.0 or robomimic dataset, with provenance per episode."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from worldeval.data.convert import open_writer
from worldeval.data.formats.lerobot.layout import FileLimits
from worldeval.data.names import numbered
from worldeval.data.writer import Shape
from worldeval.errors import UserError
from worldeval.export.card import ExportCounts, dataset_card
from worldeval.record import Episode

# Stored for every exported episode: `origin` is 'imagined' or 'recorded', `start` names the initial
# frame, `probability` is the judge's success probability of an imagined episode, and `trust` says
# how far its signals can be trusted, from 0 to 1.
PROVENANCE = ("origin", "world_model", "policy", "seed", "start", "judge", "probability", "trust")
FORMAT_NAMES = {"lerobot": "LeRobot v3.0", "robomimic": "robomimic HDF5"}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and where."""

    out: Path
    episodes: int
    frames: int
    successes: int


def export_episodes(
    episodes: Iterable[tuple[Episode, Mapping[str, Any]]],
    out: Path,
    *,
    to: str = "lerobot",
    signals: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
    checks: Sequence[str] = (),
    title: str | None = None,
    summary: str = "Robot episodes imagined by a learned world model.",
    license: str | None = None,
    robot: str = "unknown",
    action_names: Sequence[str] | None = None,
    pose_names: Sequence[str] | None = None,
    limits: FileLimits | None = None,
) -> Exported:
    """Write episodes with their provenance; one episode is in memory at a time.

    Args:
        episodes: each with a record that has every field of `PROVENANCE`, as plain values.
        out: the folder (LeRobot) or .hdf5 file (robomimic) to create; it appears when complete.
            Texts go to its `meta/` and `README.md`, or to HDF5 groups and datasets of those names.
        signals: additional columns of the records to store; null if a record lacks one.
        facts: what is common to all episodes, for meta/provenance.json and the card.
        checks: lines of the card that say what the checks of the run refused (`refusals.py`).
        license: its short name for the card; left out if None.
        action_names, pose_names: names of the dimensions; numbered if None.

    Raises:
        UserError: there is no episode, a record lacks a field, or episodes do not match each other.
    """
    stream = iter(episodes)
    first = next(stream, None)
    if first is None:
        raise UserError("No episode is left to export. Use a less strict --select.")
    shape = _shape(first[0], action_names, pose_names)
    fields = tuple(dict.fromkeys((*PROVENANCE, *signals)))
    facts = dict(facts or {})
    lines: list[dict[str, Any]] = []
    tasks: Counter[str] = Counter()
    frames = successes = 0
    # Never continue an existing dataset: it may have been made with another selection.
    with open_writer(out, shape, to=to, robot=robot, limits=limits, fresh=True) as writer:
        for episode, record in chain([first], stream):
            missing = [field for field in PROVENANCE if field not in record]
            if missing:
                raise UserError(
                    f"Episode '{episode.id}' has no {', '.join(missing)} in its provenance."
                )
            kept = {field: record.get(field) for field in fields}
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
        contents = ExportCounts(
            episodes=len(lines),
            frames=frames,
            fps=shape.fps,
            views=shape.views,
            tasks=dict(tasks.most_common()),
            successes=successes,
            format=FORMAT_NAMES[to],
            recorded=sum(line.get("origin") == "recorded" for line in lines),
            mean_probability=sum(judged) / len(judged) if judged else None,
        )
        card = dataset_card(
            contents,
            title=title or out.name,
            summary=summary,
            license=license,
            facts=facts,
            fields=fields,
            checks=checks,
        )
        writer.finish(
            files={
                "README.md": card,
                "meta/provenance.json": json.dumps(facts, indent=2) + "\n",
                "meta/provenance.jsonl": "".join(json.dumps(line) + "\n" for line in lines),
            }
        )
    return Exported(out=out, episodes=len(lines), frames=frames, successes=successes)


def _shape(
    episode: Episode, action_names: Sequence[str] | None, pose_names: Sequence[str] | None
) -> Shape:
    actions, pose = episode.actions.shape[1], episode.pose.shape[1]
    return Shape(
        fps=episode.fps,
        views={view: (frames.shape[1], frames.shape[2]) for view, frames in episode.frames.items()},
        action_names=tuple(action_names or numbered("action", actions)),
        pose_names=tuple(pose_names or numbered("pose", pose)),
    )
