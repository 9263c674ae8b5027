# pandas types a cell as anything that a table may hold.
# pyright: reportCallIssue=false
"""Read the imagined roll-outs of a run as episodes, each with its metadata."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Float32, UInt8
from worldeval.errors import UserError
from worldeval.export.trust import signals
from worldeval.expression import Expression
from worldeval.record import Episode, Rollout
from worldeval.runs.origin import read_recipe
from worldeval.runs.paths import IMAGINED, RunPaths
from worldeval.runs.store import RolloutStore
from worldeval.runs.tables import read_side
from worldeval.world.load import world_hash
from worldeval.world.protocol import WorldSpec

CALLED = 0.5  # success probability from which a verdict counts as a success
TABLE = ("policy", "lineage", "step", "task", "start", "seed", "score")


@runtime_checkable
class Renderer(Protocol):
    """The part of a world model that export needs."""

    @property
    def spec(self) -> WorldSpec: ...

    def render(
        self, latents: Float32[Array, "n v d h w"], tasks: Sequence[str]
    ) -> dict[str, UInt8[Array, "n h w 3"]]: ...


@dataclass(frozen=True, kw_only=True)
class ImaginedRun:
    """The imagined part of a run folder: its roll-outs, their outcomes and their world.

    A roll-out's record has the fields of every exported episode (`export.dataset.PROVENANCE`), the
    judge's verdict, the frame with the strongest evidence and every trust signal.
    """

    folder: Path
    world: Path  # folder of the world model

    @property
    def store(self) -> RolloutStore:
        return RolloutStore(RunPaths(self.folder).imagined)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of all roll-outs, without reading frames."""
        outcomes = _outcomes(self.folder)
        made_in = world_hash(self.world)
        records = []
        for fact, verdict in self.store.verdicts():
            key = _key(fact.policy, fact.task, fact.start, fact.seed)
            if key not in outcomes:
                raise UserError(
                    f"{self.folder}/outcomes/imagined.csv has no row for policy {key[0]}, task "
                    f"{key[1]}, start {key[2]}, seed {key[3]}, although it was imagined. The run "
                    "is unfinished: run it again, and it continues where it stopped."
                )
            row = outcomes[key]
            records.append(
                {
                    "origin": "imagined",
                    "success": row["score"] >= CALLED,
                    "probability": row["score"],
                    **{name: row[name] for name in TABLE[:-1]},
                    "judge": verdict.judge,
                    "reached": verdict.step,
                    "world_model": made_in,
                    **signals(fact.trust, verdict.votes),
                }
            )
        if not records:
            raise UserError(
                f"{self.folder}/imagined contains no roll-outs. Run `worldeval rank` first."
            )
        columns = dict.fromkeys(name for record in records for name in record)
        return [{name: record.get(name) for name in columns} for record in records]

    def select(self, text: str | None) -> list[dict[str, Any]]:
        """Select the records for which the expression is true; all if it is None."""
        records = self.records()
        if text is None:
            return records
        columns = [name for name in records[0] if name.isidentifier()]
        selection = Expression(text, columns)
        return [record for record in records if selection(record)]

    def episodes(
        self, records: list[dict[str, Any]], world: Renderer
    ) -> Iterator[tuple[Episode, dict[str, Any]]]:
        """Decode the selected roll-outs into frames, one at a time."""
        chosen = {_of(record): record for record in records}
        for rollout, _ in self.store.rollouts():
            record = chosen.get(_key(rollout.policy, rollout.task, rollout.start, rollout.seed))
            if record is not None:
                yield _episode(rollout, record, world), record


def open_imagined(folder: Path, world: Path | None = None) -> ImaginedRun:
    """Open the imagined part of a run; its recipe names the world unless one is given."""
    if world is None:
        named = read_recipe(folder).get("world")
        if not named:
            where = RunPaths(folder).recipe
            raise UserError(f"{where} names no world model. Pass its folder with --world.")
        world = Path(str(named))
    return ImaginedRun(folder=folder, world=world)


def _episode(rollout: Rollout, record: dict[str, Any], world: Renderer) -> Episode:
    if rollout.latents is None:
        raise UserError(f"The roll-out of {rollout.policy} from {rollout.start} has no latents.")
    latents = rollout.latents.astype(np.float32)
    frames = world.render(latents, [rollout.task] * len(latents))
    return Episode(
        id=f"{rollout.policy}/{rollout.start}/{rollout.seed}",
        frames=frames,
        # There is one more frame than actions; the last frame's action is never executed.
        actions=np.concatenate([rollout.actions, rollout.actions[-1:]]),
        pose=rollout.pose,
        task=rollout.task,
        success=record["success"],
        fps=world.spec.fps,
        source=rollout.policy,
    )


def _outcomes(run: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    path = RunPaths(run).outcomes(IMAGINED)
    if not path.is_file():
        raise UserError(f"{path} does not exist. Run `worldeval rank` first.")
    table = read_side(run, IMAGINED, needed=TABLE)
    out = {}
    for place, row in enumerate(table[list(TABLE)].fillna({"step": 0.0}).to_dict("records")):
        if not math.isfinite(row["score"]):
            raise UserError(f"{path}, line {place + 2}: the score is {row['score']}.")
        out[_of(row)] = {**row, "step": float(row["step"])}
    return out


def _of(record: dict[str, Any]) -> tuple[str, ...]:
    return _key(record["policy"], record["task"], record["start"], record["seed"])


def _key(policy: str, task: str, start: str, seed: object) -> tuple[str, ...]:
    return policy, task, start, str(seed)
