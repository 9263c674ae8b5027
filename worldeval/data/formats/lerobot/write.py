"""Write a LeRobot v3.0 dataset."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from worldeval.axes import Array, Float32, UInt8
from worldeval.data.formats.lerobot.assemble import assemble
from worldeval.data.formats.lerobot.layout import (
    ACTION,
    DONE,
    OURS,
    STATE,
    SUCCESS,
    Layout,
    image_key,
)
from worldeval.data.formats.lerobot.stats import Histogram
from worldeval.data.source import Head, Rows
from worldeval.data.video import VideoWriter
from worldeval.data.writer import Value, Writer, whole_rate
from worldeval.errors import UserError
from worldeval.written import check_parquet


class LeRobotWriter(Writer):
    """Writer of rows to parquet and frames to H.264, with statistics of both."""

    def __init__(self, out: Path, layout: Layout, *, origin: str = "", fresh: bool = False) -> None:
        whole_rate(layout.fps)
        twice = [view for view, count in Counter(map(image_key, layout.views)).items() if count > 1]
        if twice:
            raise UserError(
                f"Two views would both be named {twice[0]}, because LeRobot allows no '/' in names "
                f"({', '.join(layout.views)}). Select views with --view, or rename one in a map "
                "(views:)."
            )
        described = {"format": "lerobot", **asdict(layout)}
        super().__init__(out, layout, description=described, origin=origin, fresh=fresh)
        self.layout = layout

    def _stage(
        self,
        folder: Path,
        head: Head,
        rows: Rows,
        frames: Mapping[str, Iterable[UInt8[Array, "n h w 3"]]],
        columns: Mapping[str, Value],
    ) -> None:
        described: dict[str, Any] = {
            "length": head.length,
            "tasks": list(head.tasks) or [head.task],
            "task_of_row": None if rows.task is None else rows.task.tolist(),
            "known": head.success is not None,
            "columns": {
                f"{OURS}id": head.id,
                f"{OURS}source": head.source,
                f"{OURS}success": head.success,
                f"{OURS}split": head.split,
                **{f"{OURS}{key}": value for key, value in columns.items()},
            },
        }
        counts = {}
        for view, size in self.layout.views.items():
            key = image_key(view)
            histogram = Histogram(head.length)
            with VideoWriter(folder / f"{key}.mp4", fps=self.layout.fps, size=size) as video:
                for block in frames[view]:
                    video.append(block)
                    histogram.add(block)
            counts[key], described["sampled_frames"] = histogram.counts, histogram.frames
        np.savez(folder / "histograms.npz", **counts)
        pq.write_table(self._table(head, rows), folder / "rows.parquet")
        check_parquet(folder / "rows.parquet", head.length)
        (folder / "episode.json").write_text(json.dumps(described))

    def _assemble(self, staged: list[Path], draft: Path) -> None:
        assemble(staged, draft, self.layout)

    def _table(self, head: Head, rows: Rows) -> pa.Table:
        last = np.arange(head.length) == head.length - 1
        succeeded = last & bool(head.success)
        if rows.flags is not None and bool(rows.flags.any()) == head.success:
            succeeded = rows.flags.astype(bool)
        return pa.table(
            {
                STATE: _column(rows.pose),
                ACTION: _column(rows.actions),
                DONE: pa.array(last),
                SUCCESS: pa.array(succeeded),
                "timestamp": pa.array(np.arange(head.length) / self.layout.fps, pa.float32()),
                "frame_index": pa.array(np.arange(head.length), pa.int64()),
            }
        )


def _column(values: Float32[Array, "t d"]) -> pa.Array:
    """Convert to one number per row if there is one dimension, else to fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
    if values.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
