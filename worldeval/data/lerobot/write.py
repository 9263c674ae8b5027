"""Write a LeRobot v3.0 dataset: episodes are staged one by one, then put together in one step.

`<out>` appears only when complete. Until then the episodes lie in `.<out>.part/` beside it, each a
folder that is whole or absent, so an interrupted writing continues after the last one.
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldeval.axes import Array, Float32
from worldeval.data.lerobot import stats
from worldeval.data.lerobot.assemble import assemble
from worldeval.data.lerobot.layout import ACTION, DONE, OURS, STATE, SUCCESS, Layout, image_key
from worldeval.data.video import VideoWriter
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.run import read_json, write_json


class LeRobotWriter:
    """A dataset being written. `add` episodes; leaving the `with` block without error completes it.

    `staged` says how many episodes an earlier, interrupted writing has left: skip those. `origin`
    says in words what is written, so that only the same writing is continued; `fresh` continues
    none and throws away what one left.
    """

    def __init__(self, out: Path, layout: Layout, *, origin: str = "", fresh: bool = False) -> None:
        if abs(layout.fps - round(layout.fps)) > 1e-6:
            raise UserError(
                f"LeRobot datasets have a whole number of frames a second, and this one has "
                f"{layout.fps:g}. Give the rate to write with --fps."
            )
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise UserError(f"{out} exists already. Remove it, or give another folder.")
        self.out, self.layout = out, layout
        self.part = out.with_name(f".{out.name}.part")
        if fresh:
            shutil.rmtree(self.part, ignore_errors=True)
        self._claim(origin)
        self.staged = len(list(self._episodes()))

    def add(
        self,
        episode: Episode,
        *,
        columns: Mapping[str, float | int | str | bool | None] | None = None,
    ) -> None:
        """Stage one episode; `columns` are kept per episode in the episodes table."""
        self._check(episode)
        final = self.part / f"{self.staged:06d}"
        draft = final.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        described: dict[str, Any] = {
            "length": len(episode),
            "task": episode.task,
            "columns": {
                f"{OURS}id": episode.id,
                f"{OURS}source": episode.source,
                f"{OURS}success": episode.success,
                **{f"{OURS}{key}": value for key, value in (columns or {}).items()},
            },
        }
        counts = {}
        for view, size in self.layout.views.items():
            frames = episode.frames[view]
            with VideoWriter(
                draft / f"{image_key(view)}.mp4", fps=self.layout.fps, size=size
            ) as to:
                to.append(frames)
            counts[image_key(view)], described["sampled_frames"] = stats.histogram(frames)
        np.savez(draft / "histograms.npz", **counts)
        pq.write_table(self._table(episode), draft / "rows.parquet")
        (draft / "episode.json").write_text(json.dumps(described))
        os.replace(draft, final)
        self.staged += 1

    def finish(self, *, files: Mapping[str, str] | None = None) -> None:
        """Put the dataset together and give it its name; `files` are texts to add to it."""
        if not self.staged:
            raise UserError(f"No episode was written to {self.out}: there was none to write.")
        whole = self.part / "dataset"
        shutil.rmtree(whole, ignore_errors=True)
        assemble(list(self._episodes()), whole, self.layout)
        for name, text in (files or {}).items():
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            (whole / name).write_text(text)
        if self.out.is_dir():
            self.out.rmdir()  # it is empty
        os.replace(whole, self.out)
        shutil.rmtree(self.part)

    def __enter__(self) -> "LeRobotWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if kind is None and not self.out.is_dir():
            self.finish()

    def _episodes(self) -> list[Path]:
        return sorted(path for path in self.part.glob("[0-9]*") if not path.suffix)

    def _claim(self, origin: str) -> None:
        """Continue a staging folder begun for this very dataset; refuse another's."""
        described = json.loads(json.dumps({"origin": origin, **asdict(self.layout)}))
        kept = self.part / "writing.json"
        if kept.is_file() and read_json(kept) != described:
            raise UserError(
                f"{self.part} was left by an interrupted writing of another dataset "
                f"(origin, rate, views or dimensions differ). Remove it to begin anew."
            )
        self.part.mkdir(parents=True, exist_ok=True)
        write_json(kept, described)

    def _check(self, episode: Episode) -> None:
        problem = None
        length = len(episode)
        for view, size in self.layout.views.items():
            if view not in episode.frames:
                problem = f"view '{view}' is missing (it has: {', '.join(episode.frames)})"
            elif episode.frames[view].shape != (length, *size, 3):
                found = episode.frames[view].shape
                problem = f"view '{view}' is {found}, and {(length, *size, 3)} is needed"
        for name, values, names in (
            ("actions", episode.actions, self.layout.action_names),
            ("pose", episode.pose, self.layout.pose_names),
        ):
            if values.shape != (length, len(names)):
                problem = f"{name} are {values.shape}, and {(length, len(names))} is needed"
        if abs(episode.fps - self.layout.fps) > 1e-3:
            problem = f"it has {episode.fps:g} frames a second, the dataset {self.layout.fps:g}"
        if not length:
            problem = "it is empty"
        if problem:
            raise UserError(f"Episode '{episode.id}' does not fit {self.out}: {problem}.")

    def _table(self, episode: Episode) -> pa.Table:
        length = len(episode)
        last = np.arange(length) == length - 1
        return pa.table(
            {
                STATE: _column(episode.pose),
                ACTION: _column(episode.actions),
                DONE: pa.array(last),
                # Where unknown, the null in the episodes table is what counts.
                SUCCESS: pa.array(last & bool(episode.success)),
                "timestamp": pa.array(np.arange(length) / self.layout.fps, pa.float32()),
                "frame_index": pa.array(np.arange(length), pa.int64()),
            }
        )


def _column(values: Float32[Array, "t d"]) -> pa.Array:
    """A number per row where there is one dimension, a list of fixed size otherwise."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    if values.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
