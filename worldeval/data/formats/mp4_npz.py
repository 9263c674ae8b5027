"""A plain mp4 and npz per episode: `<id>.mp4` or `<id>_<view>.mp4` beside `<id>.npz`.

The npz holds `actions` and `pose` (or `action`, `state`), and may hold `task`, `success` and `fps`.
With one nameless array only (`arr_0`), that is the pose, and the pose reached at the next frame
stands for the action.
"""

import re
import zipfile
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.files import inside, numbers, rate
from worldeval.data.finding import DataError, DataFinding, skipped, unused_videos
from worldeval.data.frame_times import frames_in_turn
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.video import probe, read_frames

ACTIONS, POSES = ("actions", "action"), ("pose", "state", "states", "proprio")
ONLY = "arr_0"


class Mp4NpzSource(Source):
    """A folder of such pairs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._videos: list[dict[str, Path]] = []
        self._rows: list[int] = []  # of each episode, also where a view has fewer frames
        shared: tuple[object, ...] | None = None
        files = sorted(path.glob("*.npz"), key=_order)
        self._stems = [file.stem for file in files]
        for file in files:
            try:
                videos = self._found(file)
                head, facts, rows = self._look(file, videos)
                shared = shared or facts
                if facts != shared:
                    raise DataError(file, "views", f"{facts}, in the first episode {shared}.")
            except DataError as error:
                self.findings.append(skipped(file.stem, error))
                continue
            self.heads.append(head)
            self._videos.append(videos)
            self._rows.append(rows)
        known = {video for videos in self._videos for video in videos.values()}
        self.findings += unused_videos(path, path.glob("*.mp4"), known)
        if shared is None:
            why = self.findings[0].text if self.findings else "there is no .npz with an .mp4."
            raise DataError(path, "file", f"no episode can be read: {why}")
        views, fps, actions, pose = shared
        assert isinstance(views, dict) and isinstance(fps, float)
        assert isinstance(actions, int) and isinstance(pose, int)
        self.spec = SourceSpec(
            format="mp4-npz",
            path=path,
            fps=fps,
            views=views,
            action_names=numbered("action", actions),
            pose_names=numbered("pose", pose),
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """A folder with an npz that has an mp4 of its name."""
        return path.is_dir() and any(
            next(iter(path.glob(f"{_escaped(file.stem)}*.mp4")), None) is not None
            for file in path.glob("*.npz")
        )

    def rows(self, index: int) -> Rows:
        head = self.heads[index]
        actions, pose = _numbers(self.path / f"{head.id}.npz")
        return Rows(actions=actions[: head.length], pose=pose[: head.length])

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        head, video = self.heads[index], self._videos[index][view]
        numbers_of = frames_in_turn(video, self._rows[index], self.spec.fps, episode=head.id)
        return read_frames(video, numbers_of[: head.length] if rows is None else numbers_of[rows])

    def _found(self, file: Path) -> dict[str, Path]:
        """view -> video; a single nameless one is 'main'."""
        videos = {}
        longer = [s for s in self._stems if s != file.stem and s.startswith(file.stem)]
        for video in sorted(self.path.glob(f"{_escaped(file.stem)}*.mp4")):
            rest = video.stem.removeprefix(file.stem)
            another = any(video.stem.startswith(stem) for stem in longer)  # ep and ep_1
            if (not rest or rest[0] in "_-.") and not another:
                inside(self.path, video.name, owner=file, field="video")
                videos[rest.lstrip("_-.") or "main"] = video
        if not videos:
            raise DataError(file, "video", f"there is no {file.stem}.mp4 beside it.")
        return videos

    def _look(self, file: Path, videos: dict[str, Path]) -> tuple[Head, tuple[object, ...], int]:
        actions, pose = _numbers(file)
        facts = {view: probe(video) for view, video in videos.items()}
        counts = {"rows": len(pose), "actions": len(actions)}
        counts |= {view: fact.frames for view, fact in facts.items()}
        extra = _load(file, ("task", "success", "fps"))
        tagged = next(iter(facts.values())).fps
        fps = rate(extra["fps"].item() if "fps" in extra else tagged, file)
        rows = min(len(pose), len(actions))
        if rows < 1:
            raise DataError(file, "rows", f"there is nothing in common: {counts}.")
        found = [frames_in_turn(video, rows, fps, episode=file.stem) for video in videos.values()]
        length = min(map(len, found))
        if len(set(counts.values())) > 1:
            words = f"{counts}; the first {length} rows are used."
            self._odd("frame-count", file, "rows", words)
        if abs(tagged - fps) > 0.01 * fps:
            words = f"the video says {tagged:g} fps and the npz {fps:g}, which is taken."
            self._odd("fps-tag", file, "fps", words)
        head = Head(
            id=file.stem,
            length=length,
            task=str(extra["task"].item()) if "task" in extra else "",
            success=_success(extra["success"], file) if "success" in extra else None,
        )
        views = {view: (fact.height, fact.width) for view, fact in facts.items()}
        return head, (views, fps, actions.shape[1], pose.shape[1]), rows

    def _odd(self, code: str, file: Path, field: str, words: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=file.stem, field=field, text=words)
        )


def _numbers(file: Path) -> tuple[Float32[Array, "s a"], Float32[Array, "t p"]]:
    arrays = _load(file, (*ACTIONS, *POSES, ONLY))
    action = next((name for name in ACTIONS if name in arrays), None)
    state = next((name for name in (*POSES, ONLY) if name in arrays), None)
    if state is None:
        raise DataError(file, "pose", f"there is none of {', '.join((*POSES, ONLY))}.")
    pose = numbers(arrays[state], file, state)
    if not len(pose):
        raise DataError(file, state, "it is empty.")
    if action is None:
        return np.concatenate([pose[1:], pose[-1:]]), pose
    actions = numbers(arrays[action], file, action)
    if len(actions) == len(pose) - 1:  # none for the last frame: hold the last one
        actions = np.concatenate([actions, actions[-1:]])
    return actions, pose


def _load(file: Path, names: tuple[str, ...]) -> dict[str, Array]:
    try:
        # Opened here because np.load leaves a file open that turns out not to be one of its own.
        with file.open("rb") as stream:
            # allow_pickle=False: an object array could run anything when it is read.
            kept = np.load(stream, allow_pickle=False)
            if not isinstance(kept, np.lib.npyio.NpzFile):
                raise DataError(file, "npz", "it holds one bare array, not an archive of arrays.")
            with kept:
                return {name: kept[name] for name in names if name in kept.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(file, "npz", f"it cannot be read ({error}).") from error


def _success(value: Array, file: Path) -> bool | None:
    if value.size != 1 or value.dtype.kind not in "biuf" or value.item() not in (-1, 0, 1):
        raise DataError(file, "success", f"{value!r:.60} is none of 0, 1 and -1 (unknown).")
    return None if value.item() == -1 else bool(value.item())


def _escaped(stem: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", stem)


def _order(file: Path) -> tuple[int, str]:
    number = re.search(r"\d+", file.stem)
    return int(number.group()) if number else 0, file.stem
