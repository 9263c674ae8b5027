# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false
"""Export a few episodes for `interop.sh`, several files of each kind, with what LeRobot must read.

python benchmarks/interop_export.py DATA FOLDER            writes FOLDER/set and FOLDER/set.npz
python benchmarks/interop_export.py EXPORTED FOLDER --as-is   FOLDER/<name>.npz of what is there
"""

import sys
from pathlib import Path

import numpy as np

from worldeval.data.formats.lerobot.layout import FileLimits, Layout, image_key
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.source import Source, open_source
from worldeval.record import Episode

EPISODES = 4


def export(source: Source, folder: Path) -> None:
    """The shortest episodes as a LeRobot dataset that rolls over to several files."""
    spec = source.spec
    layout = Layout(
        fps=spec.fps,
        views=spec.views,
        action_names=spec.action_names,
        pose_names=spec.pose_names,
        limits=FileLimits(data_mb=0.03, video_mb=1, files_per_chunk=2),
    )
    chosen = np.argsort([head.length for head in source.heads])[:EPISODES].tolist()
    episodes = [source.episode(index) for index in chosen]
    with LeRobotWriter(folder / "set", layout, fresh=True) as writer:
        for episode in episodes:
            writer.add(episode)
    expect(episodes, folder / "set.npz")


def expect(episodes: list[Episode], path: Path) -> None:
    """Write what LeRobot must read."""
    last = [np.arange(len(e)) == len(e) - 1 for e in episodes]
    np.savez(
        path,
        action=np.concatenate([e.actions for e in episodes]),
        pose=np.concatenate([e.pose for e in episodes]),
        frame_index=np.concatenate([np.arange(len(e)) for e in episodes]),
        episode_index=np.repeat(np.arange(len(episodes)), [len(e) for e in episodes]),
        task=np.repeat([e.task for e in episodes], [len(e) for e in episodes]),
        success=np.concatenate(
            [at & bool(e.success) for at, e in zip(last, episodes, strict=True)]
        ),
        **{
            image_key(v): np.concatenate([e.frames[v] for e in episodes])
            for v in episodes[0].frames
        },
    )


if __name__ == "__main__":
    data, folder = Path(sys.argv[1]), Path(sys.argv[2])
    if sys.argv[3:] == ["--as-is"]:
        expect(list(open_source(data)), folder / f"{data.name}.npz")
    else:
        export(open_source(data), folder)
