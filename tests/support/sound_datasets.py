"""A small sound dataset in every format that is read, made without the readers' help."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq

from worldeval.data.formats.lerobot.layout import Layout
from worldeval.data.formats.lerobot.write import LeRobotWriter
from worldeval.data.formats.robomimic.write import RobomimicWriter
from worldeval.data.formats.shards.write import ShardsWriter
from worldeval.data.video import VideoWriter
from worldeval.data.writer import Shape
from worldeval.record import Episode

FORMATS = (
    "lerobot-v3", "lerobot-v2", "robomimic", "ctrl-world", "shards", "zarr", "aloha", "mp4-npz",
)  # fmt: skip
SIZE, LENGTH, COUNT = (16, 32), 5, 3


def frames_of(seed: int) -> np.ndarray:
    ramp = np.linspace(0, 160, SIZE[0] * SIZE[1]).reshape(SIZE)
    moving = [np.roll(ramp, 3 * t + seed, axis=1) + 20 for t in range(LENGTH)]
    return np.stack(moving)[..., None].repeat(3, axis=-1).astype(np.uint8)


def episode(index: int) -> Episode:
    rng = np.random.default_rng(index)
    return Episode(
        id=f"e{index}",
        frames={"top": frames_of(index)},
        actions=rng.normal(size=(LENGTH, 2)).astype(np.float32),
        pose=rng.normal(size=(LENGTH, 3)).astype(np.float32),
        task=f"task {index}",
        success=bool(index % 2),
        fps=5.0,
    )


SHAPE = Shape(fps=5.0, views={"top": SIZE}, action_names=("a", "b"), pose_names=("x", "y", "z"))


def film(path: Path, index: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, fps=5, size=SIZE) as writer:
        writer.append(frames_of(index))


def make(kind: str, root: Path) -> Path:
    """A small sound dataset in one format."""
    if kind == "lerobot-v3":
        with LeRobotWriter(root, Layout(**vars(SHAPE))) as writer:
            for index in range(COUNT):
                writer.add(episode(index))
    elif kind == "lerobot-v2":
        make_v2(root)
    elif kind == "robomimic":
        root.mkdir(exist_ok=True)
        with RobomimicWriter(root / "set.hdf5", SHAPE) as writer:
            for index in range(COUNT):
                writer.add(episode(index))
    elif kind == "shards":
        with ShardsWriter(root, SHAPE) as writer:
            for index in range(COUNT):
                writer.add(episode(index))
    elif kind == "ctrl-world":
        make_ctrl_world(root)
    elif kind == "zarr":
        make_zarr(root)
    elif kind == "aloha":
        root.mkdir()
        for index in range(COUNT):
            with h5py.File(root / f"episode_{index}.hdf5", "w") as file:
                file["action"] = episode(index).actions
                file["observations/qpos"] = episode(index).pose
                file["observations/images/top"] = frames_of(index)
    else:
        root.mkdir()
        for index in range(COUNT):
            film(root / f"{index}.mp4", index)
            made = episode(index)
            np.savez(root / f"{index}.npz", actions=made.actions, pose=made.pose, success=1)
    return root


def make_v2(root: Path) -> None:
    make("lerobot-v3", root.with_name("newer"))
    newer = root.with_name("newer")
    info = json.loads((newer / "meta/info.json").read_text())
    info["codebase_version"] = "v2.1"
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    info["video_path"] = "videos/{video_key}/episode_{episode_index:06d}.mp4"
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    rows = pq.read_table(newer / "data/chunk-000/file-000.parquet")
    lines = []
    for index in range(COUNT):
        name = f"episode_{index:06d}"
        part = rows.slice(index * LENGTH, LENGTH)
        pq.write_table(part, root / f"data/chunk-000/{name}.parquet")
        film(root / f"videos/observation.images.top/{name}.mp4", index)
        lines.append({"episode_index": index, "tasks": [f"task {index}"], "length": LENGTH})
    (root / "meta/episodes.jsonl").write_text("\n".join(map(json.dumps, lines)))


def make_ctrl_world(root: Path) -> None:
    for index in range(COUNT):
        film(root / f"videos/{index}.mp4", index)
        rng = np.random.default_rng(index)
        note = {
            "texts": [f"task {index}"],
            "success": index % 2,
            "video_length": LENGTH,
            "videos": [{"video_path": f"videos/{index}.mp4"}],
            "states": rng.normal(size=(LENGTH, 7)).tolist(),
            "action.cartesian_position": rng.normal(size=(3 * LENGTH, 6)).tolist(),
            "action.gripper_position": rng.random(3 * LENGTH).tolist(),
        }
        (root / "annotation/train").mkdir(parents=True, exist_ok=True)
        (root / f"annotation/train/{index}.json").write_text(json.dumps(note))


def make_zarr(root: Path) -> None:
    import zarr

    group = zarr.open_group(root, mode="w", zarr_format=2)
    parts = [episode(index) for index in range(COUNT)]
    for name, values in {
        "data/action": np.concatenate([part.actions for part in parts]),
        "data/state": np.concatenate([part.pose for part in parts]),
        "data/img": np.concatenate([part.frames["top"] for part in parts]),
        "meta/episode_ends": LENGTH * np.arange(1, COUNT + 1),
    }.items():
        group.create_array(name, data=values, chunks=(6, *values.shape[1:]))
