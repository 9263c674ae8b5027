"""Layout of LeRobot v3.0: the names of its files and features, and `meta/info.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldeval.data.names import numbered
from worldeval.data.writer import Shape

VERSION = "v3.0"
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{FILE}.parquet"
IMAGES, STATE, ACTION = "observation.images.", "observation.state", "action"
SUCCESS, DONE = "next.success", "next.done"

# Columns of the episodes table that LeRobot does not know and ignores: the contents of an `Episode`
# that LeRobot's own columns cannot hold. A null success means unknown.
OURS = "worldeval/"
MEANING_PATH = "meta/worldeval.json"  # what columns mean, which LeRobot's own files cannot say

# dtype of the columns that every dataset has, with one number per row.
COUNTERS = {
    "timestamp": "float32",
    "frame_index": "int64",
    "episode_index": "int64",
    "index": "int64",
    "task_index": "int64",
}


@dataclass(frozen=True, kw_only=True)
class FileLimits:
    """Limits at which a dataset begins the next file, and the next chunk (folder) of files."""

    data_mb: float = 100
    video_mb: float = 200
    files_per_chunk: int = 1000


@dataclass(frozen=True, kw_only=True)
class Layout(Shape):
    """Properties shared by all episodes of a dataset to be written, and its file size limits."""

    robot: str = "unknown"
    limits: FileLimits = FileLimits()

    @property
    def vectors(self) -> dict[str, tuple[str, ...]]:
        """Map each vector feature to the names of its dimensions."""
        return {STATE: self.pose_names, ACTION: self.action_names}

    def features(self, *, flagged: bool = True) -> dict[str, Any]:
        """Build `features` of info.json; `flagged` if every frame says whether it succeeded."""
        described = {image_key(view): self._video(size) for view, size in self.views.items()}
        for key, names in self.vectors.items():
            described[key] = _feature("float32", [len(names)], list(names))
        for key in (DONE, SUCCESS) if flagged else (DONE,):
            described[key] = _feature("bool", [1])
        for key, dtype in COUNTERS.items():
            described[key] = _feature(dtype, [1])
        return described

    def info(
        self, *, episodes: int, frames: int, tasks: int, flagged: bool = True
    ) -> dict[str, Any]:
        """Build the content of meta/info.json."""
        return {
            "codebase_version": VERSION,
            "robot_type": self.robot,
            "total_episodes": episodes,
            "total_frames": frames,
            "total_tasks": tasks,
            "chunks_size": self.limits.files_per_chunk,
            "data_files_size_in_mb": self.limits.data_mb,
            "video_files_size_in_mb": self.limits.video_mb,
            "fps": round(self.fps),
            "splits": {"train": f"0:{episodes}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self.views else None,
            "features": self.features(flagged=flagged),
        }

    def _video(self, size: tuple[int, int]) -> dict[str, Any]:
        height, width = size
        return {
            **_feature("video", [height, width, 3], ["height", "width", "channels"]),
            "info": {
                "video.height": height,
                "video.width": width,
                "video.codec": "h264",
                "video.pix_fmt": "yuv420p",
                "video.is_depth_map": False,
                "video.fps": round(self.fps),
                "video.channels": 3,
                "has_audio": False,
            },
        }


def image_key(view: str) -> str:
    """Return the feature of a view; "/" is not allowed in feature names."""
    return IMAGES + view.replace("/", "_")


def view_name(key: str) -> str:
    """Return the view of an image feature: 'observation.images.top' -> 'top'."""
    return key.removeprefix(IMAGES).removeprefix("observation.")


def names_of(feature: Mapping[str, Any], prefix: str) -> tuple[str, ...]:
    """Name a vector's dimensions, by number if the dataset has no names that fit."""
    size = int(feature["shape"][0])
    names = feature.get("names")
    if isinstance(names, Mapping):  # {"motors": ["waist", ...]}
        names = next(iter(names.values()), None)
    fits = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == size
    return tuple(str(name) for name in names or ()) if fits else numbered(prefix, size)


def _feature(dtype: str, shape: list[int], names: list[str] | None = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "names": names}
