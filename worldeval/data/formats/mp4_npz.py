"""A plain mp4 and npz per episode: `<id>.mp4` or `<id>_<view>.mp4` next to `<id>.npz`.

The npz contains `actions` and `pose` (or `action`, `state`), and optionally `task`, `success` and
`fps`. A lone array is refused until a map says what it is: in some public datasets it is the pose,
in others the action, and confusing them shifts everything by one frame.
"""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float, Float32, Int, UInt8
from worldeval.data.data_map import DataMap
from worldeval.data.files import LOOSE, bounded, inside, listed, numbers, rate
from worldeval.data.finding import DataError, DataFinding, skipped, unused_videos, why_none
from worldeval.data.frame_times import frames_in_turn
from worldeval.data.names import numbered, views_of
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.truth import truth
from worldeval.data.video import probe, read_frames

ACTIONS, POSES = ("actions", "action"), ("pose", "state", "states", "proprio")
REWARDS = ("rewards", "reward")


class Mp4NpzSource(Source):
    """A folder of pairs of mp4 and npz files."""

    UNDERSTANDS = (
        "action.keys", "action.next_pose", "pose.keys", "views", "reward", "task_key"
    )  # fmt: skip

    def __init__(self, path: Path, given: DataMap | None = None) -> None:
        self.path, self.given = path, given or DataMap()
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._videos: list[dict[str, Path]] = []
        self._rows: list[int] = []  # of each episode, even if a view has fewer frames
        shared: tuple[object, ...] | None = None
        files = sorted(listed(path, "*.npz"), key=_order)
        self._stems = [file.stem for file in files]
        for file in files:
            try:
                inside(path, file.name, owner=file, field="file")
                videos = self._found(file)
                head, facts, rows = self._look(file, videos)
                shared = shared or facts
                if facts != shared:
                    raise DataError(file, "views", f"{facts}, but the first episode has {shared}.")
            except DataError as error:
                self.findings.append(skipped(file.stem, error))
                continue
            self.heads.append(head)
            self._videos.append(videos)
            self._rows.append(rows)
        known = {video for videos in self._videos for video in videos.values()}
        self.findings += unused_videos(path, listed(path, "*.mp4"), known)
        if shared is None:
            why = why_none(self.findings, "there is no .npz file with an .mp4 file beside it.")
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
            read_as=replace(
                self.given,
                action=replace(self.given.action, keys=self._keys[0]),
                pose=replace(self.given.pose, keys=self._keys[1]),
                views=self.given.views or {view: view for view in views},
            ),
        )
        if not self._keys[1]:
            self.findings.append(
                DataFinding(
                    code="no-pose",
                    severity="warning",
                    episode=None,
                    field="pose",
                    text="no pose is stored, so no world model can be trained on these episodes. "
                    "If an array holds it, name it in a map (pose: keys:).",
                )
            )
        if self.given.action.next_pose or not self._keys[0]:
            self.findings.append(
                DataFinding(
                    code="actions-made-up",
                    severity="warning",
                    episode=None,
                    field="action",
                    text="no action is stored, so the pose reached at the next frame is used as "
                    "the action. "
                    "It is where the robot went, not what was commanded. If an array holds the "
                    "actions, name it in a map (action: keys:).",
                )
            )

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept a folder with an npz and an mp4 of the same name."""
        return path.is_dir() and any(
            listed(path, f"{_escaped(file.stem)}*.mp4") for file in listed(path, "*.npz")
        )

    def rows(self, index: int) -> Rows:
        head = self.heads[index]
        actions, pose = self._numbers(self.path / f"{head.id}.npz")
        return Rows(actions=actions[: head.length], pose=pose[: head.length])

    def column(self, index: int, key: str) -> Float[Array, " t"]:
        head = self.heads[index]
        file = self.path / f"{head.id}.npz"
        names = (self.given.reward,) if self.given.reward else REWARDS
        found = _load(file, names if key == "reward" else (key,))
        if not found:
            raise DataError(file, key, f"it is missing (available: {', '.join(_names(file))}).")
        name, values = next(iter(found.items()))
        table = numbers(values, file, name, columns=1)
        if len(table) < head.length:
            raise DataError(
                file, name, f"it has {len(table)} rows, but the episode has {head.length}."
            )
        return table[: head.length, 0].astype(np.float64)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        self.choose([view])
        head, video = self.heads[index], self._videos[index][view]
        numbers_of = frames_in_turn(video, self._rows[index], self.spec.fps, episode=head.id)
        return read_frames(video, numbers_of[: head.length] if rows is None else numbers_of[rows])

    def _found(self, file: Path) -> dict[str, Path]:
        """Find the videos (view -> video); a single video without a view name is 'main'."""
        rests = {}
        longer = [s for s in self._stems if s != file.stem and s.startswith(file.stem)]
        for video in listed(self.path, f"{_escaped(file.stem)}*.mp4"):
            rest = video.stem.removeprefix(file.stem)
            another = any(video.stem.startswith(stem) for stem in longer)  # such as ep and ep_1
            if (not rest or rest[0] in "_-.") and not another:
                inside(self.path, video.name, owner=file, field="video")
                rests[rest] = rest.lstrip("_-.") or "main"
        if not rests:
            raise DataError(file, "video", f"there is no {file.stem}.mp4 beside it.")
        videos = {
            view: self.path / f"{file.stem}{rest}.mp4" for view, rest in views_of(rests).items()
        }
        if not self.given.views:
            return videos
        missing = [key for key in self.given.views.values() if key not in videos]
        if missing:
            raise DataError(
                file, "video", f"view '{missing[0]}' is missing (available: {', '.join(videos)})."
            )
        return {view: videos[key] for view, key in self.given.views.items()}

    def _look(self, file: Path, videos: dict[str, Path]) -> tuple[Head, tuple[object, ...], int]:
        actions, pose = self._numbers(file)
        facts = {view: probe(video) for view, video in videos.items()}
        counts = {"rows": len(pose), "actions": len(actions)}
        counts |= {view: fact.frames for view, fact in facts.items()}
        told = self.given.task_key or "task"
        extra = _load(file, (told, "success", "fps"))
        if self.given.task_key and told not in extra:
            raise DataError(file, told, f"it is missing (available: {', '.join(_names(file))}).")
        tagged = next(iter(facts.values())).fps
        fps = rate(extra["fps"].item() if "fps" in extra else tagged, file)
        rows = min(len(pose), len(actions))
        if rows < 1:
            raise DataError(
                file, "rows", f"the arrays and videos have no rows in common: {counts}."
            )
        found = [frames_in_turn(video, rows, fps, episode=file.stem) for video in videos.values()]
        length = min(map(len, found))
        if len(set(counts.values())) > 1:
            words = f"{counts}; only the first {length} rows are used."
            self._odd("frame-count", file, "rows", words)
        if abs(tagged - fps) > 0.01 * fps:
            words = f"the video states {tagged:g} fps, but the npz {fps:g} fps, which is used."
            self._odd("fps-tag", file, "fps", words)
        stored = extra.get("success")
        success = None if stored is None else _success(stored, file)
        if stored is not None and success is None and not (stored.size and stored.item() == -1):
            self._odd(
                "no-success", file, "success", f"is {stored.item()!r}, so success is unknown."
            )
        head = Head(
            id=file.stem,
            length=length,
            task=str(extra[told].reshape(-1)[0]) if told in extra else "",
            success=success,
        )
        views = {view: (fact.height, fact.width) for view, fact in facts.items()}
        return head, (views, fps, actions.shape[1], pose.shape[1]), rows

    def _numbers(self, file: Path) -> tuple[Float32[Array, "s a"], Float32[Array, "t p"]]:
        """Read actions and pose of an episode from the arrays given by their names or the map."""
        there = _names(file)
        acting = self.given.action.keys or _first(ACTIONS, there)
        posing = self.given.pose.keys or _first(POSES, there)
        if self.given.action.next_pose:
            acting = ()
        if not posing and not self.given.action.keys:
            raise DataError(file, "pose", _unnamed(there, acting), _remedy(there, acting))
        if not acting and not (self.given.action.next_pose or _first(POSES, there)):
            raise DataError(file, "actions", _unnamed(there, acting), _remedy(there, acting))
        self._keys = acting, posing
        arrays = _load(file, (*acting, *posing))
        for key in (*acting, *posing):
            if key not in arrays:
                raise DataError(file, key, f"it is missing (available: {', '.join(there)}).")
        if not posing:  # the map names an action and there is no other array
            actions = np.concatenate([numbers(arrays[key], file, key) for key in acting], axis=1)
            return actions, np.zeros((len(actions), 0), np.float32)
        pose = np.concatenate([numbers(arrays[key], file, key) for key in posing], axis=1)
        if not len(pose):
            raise DataError(file, posing[0], "it is empty.")
        if not acting:
            return np.concatenate([pose[1:], pose[-1:]]), pose
        actions = np.concatenate([numbers(arrays[key], file, key) for key in acting], axis=1)
        if len(actions) == len(pose) - 1:  # the last frame has none, so repeat the last action
            actions = np.concatenate([actions, actions[-1:]])
        return actions, pose

    def _odd(self, code: str, file: Path, field: str, words: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=file.stem, field=field, text=words)
        )


def _load(file: Path, names: tuple[str, ...]) -> dict[str, Array]:
    try:
        # Opened here, because np.load leaves a file open if it is not a NumPy file.
        with file.open("rb") as stream:
            # allow_pickle=False, because loading an object array could run arbitrary code.
            kept = np.load(stream, allow_pickle=False)
            if not isinstance(kept, np.lib.npyio.NpzFile):
                raise DataError(
                    file,
                    "npz",
                    "it contains one bare array (.npy); expected an archive of named arrays "
                    "(.npz).",
                )
            with kept:
                for entry in kept.zip.infolist() if kept.zip else ():
                    field = entry.filename.removesuffix(".npy")
                    if field in names:
                        bounded(entry.file_size, entry.compress_size, file, field, expansion=LOOSE)
                return {name: kept[name] for name in names if name in kept.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, MemoryError) as error:
        raise DataError(file, "npz", f"it cannot be read ({error}).") from error


def _names(file: Path) -> list[str]:
    """List the names of the arrays of an npz."""
    try:
        with zipfile.ZipFile(file) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise DataError(file, "npz", f"it cannot be read ({error}).") from error


def _first(names: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    return next(((name,) for name in names if name in there), ())


def _unnamed(there: Sequence[str], acting: Sequence[str]) -> str:
    known = f"{', '.join(acting)} contains the actions, but " if acting else ""
    what = "the pose" if acting else "the actions and the pose"
    return f"{known}no name tells which array is {what} (arrays: {', '.join(there) or 'none'})."


def _remedy(there: Sequence[str], acting: Sequence[str]) -> str:
    name = next((one for one in there if one not in acting), "arr_0")
    said = "pose: {keys: [NAME]}"
    if not acting:
        said = (
            f"action: {{keys: [{name}]}} if {name} is the action; if it is the pose, "
            f"pose: {{keys: [{name}]}} and action: {{next_pose: true}}"
        )
    return f"Name the arrays in a map (--map FILE.yaml): {said}."


def _success(value: Array, file: Path) -> bool | None:
    try:
        return truth(value, unknown=-1)
    except ValueError as error:
        raise DataError(file, "success", f"{error}.") from error


def _escaped(stem: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", stem)


def _order(file: Path) -> tuple[int, str]:
    number = re.search(r"\d+", file.stem)
    return int(number.group()) if number else 0, file.stem
