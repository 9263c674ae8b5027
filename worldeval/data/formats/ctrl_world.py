"""Ctrl-World's layout of DROID: a JSON file per episode, an mp4 and SVD latents per camera.

A frame's action is the absolute pose commanded for the next frame: the last of the commands sent
before that frame is taken. If a file has no raw commands, it is the pose that the arm then reached.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.columns import ColumnGroup, ColumnMeanings, Groups
from worldeval.data.files import inside, listed, load_json, need, numbers, own_file, rate
from worldeval.data.finding import DataError, DataFinding, skipped, unused_videos
from worldeval.data.frame_times import frames_in_turn
from worldeval.data.source import Head, Rows, Source, SourceSpec
from worldeval.data.truth import truth
from worldeval.data.video import probe, read_frames

VIEWS = ("exterior_1", "exterior_2", "wrist")
POSE = ("x", "y", "z", "roll", "pitch", "yaw", "gripper")  # metres, radians (euler xyz), 0-1
SPACE = "ee-absolute(euler)+1"  # action space
FPS = 5.0  # rate of the states; the metadata of some videos says 4
RAW_FPS = 15.0


class CtrlWorldSource(Source):
    """Files `annotation/{train,val}/<id>.json`, and the videos and latents that they name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings: list[DataFinding] = []
        self.heads: list[Head] = []
        self._files: list[Path] = []
        self._named: set[Path] = set()  # videos named by any annotation
        views: dict[str, tuple[int, int]] = {}
        files = sorted(listed(path, "annotation/*/*.json"), key=_order)
        for file in files:
            name = file.stem if file.stem not in self._ids() else f"{file.parent.name}-{file.stem}"
            try:
                own_file(path, file)
                head, sizes = self._head(name, file)
            except DataError as error:
                self.findings.append(skipped(name, error))
                continue
            views = views or sizes
            if sizes != views:
                problem = DataError(
                    file, "videos", f"views are {sizes}, but {views} in other episodes."
                )
                self.findings.append(skipped(name, problem))
                continue
            self.heads.append(head)
            self._files.append(file)
        self.findings += unused_videos(path, listed(path, "videos/**/*.mp4"), self._named)
        if not self.heads:
            why = (
                self.findings[0].text if self.findings else "there is no file annotation/*/*.json."
            )
            raise DataError(path, "annotation", f"no episode can be read: {why}")
        self.spec = SourceSpec(
            format="ctrl-world",
            path=path,
            fps=FPS,
            views=views,
            action_names=POSE,
            pose_names=POSE,
            space=SPACE,
            meaning=ColumnMeanings(action=_groups(), pose=_groups()),
        )

    @staticmethod
    def detect(path: Path) -> bool:
        """Accept a folder with annotation/<split>/<id>.json."""
        return bool(listed(path, "annotation/*/*.json"))

    @property
    def places(self) -> list[str]:
        """Return every episode's file, for `known`."""
        return [file.relative_to(self.path).as_posix() for file in self._files]

    @classmethod
    def known(
        cls, path: Path, heads: Sequence[Head], spec: SourceSpec, places: Sequence[str]
    ) -> "CtrlWorldSource":
        """Open a dataset whose episodes are known already; no file is looked at."""
        self = cls.__new__(cls)
        self.path, self.spec, self.findings, self.heads = path, spec, [], list(heads)
        self._files, self._named = [path / place for place in places], set()
        return self

    def rows(self, index: int) -> Rows:
        file = self._files[index]
        note = load_json(file)
        length = self.heads[index].length
        pose = _states(note, file)[:length]
        return Rows(actions=_commands(note, file, pose), pose=pose)

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        file = self._files[index]
        head = self.heads[index]
        note = load_json(file)
        video = self._video(note, file, self._place(view))
        # A view may have fewer frames than the states have rows.
        numbers_of = frames_in_turn(video, len(_states(note, file)), FPS, episode=head.id)
        return read_frames(video, numbers_of[: head.length] if rows is None else numbers_of[rows])

    def has_latents(self, index: int) -> bool:
        """Whether the episode names precomputed latents."""
        return bool(load_json(self._files[index]).get("latent_videos"))

    def latents(self, index: int) -> dict[str, Float32[Array, "t d h w"]]:
        """Read the SVD latents of every view as stored, already multiplied by 0.18215."""
        import torch  # takes half a second, and is only needed here

        file = self._files[index]
        note = load_json(file)
        listed = need(note, "latent_videos", list, file)
        out = {}
        for place, view in enumerate(self.spec.views):
            field = f"latent_videos[{place}].latent_video_path"
            path = inside(self.path, _entry(listed, place, "latent_video_path", file), owner=file,
                          field=field)  # fmt: skip
            try:
                latent = torch.load(path, weights_only=True, map_location="cpu")
            except Exception as error:  # a damaged file can make torch raise anything
                raise DataError(path, "latents", f"not a plain tensor file ({error}).") from error
            if not isinstance(latent, torch.Tensor) or latent.ndim != 4:
                found = tuple(latent.shape) if isinstance(latent, torch.Tensor) else type(latent)
                raise DataError(
                    path, "latents", f"{found}; expected (frames, channels, height, width)."
                )
            first = next(iter(out.values()), None)
            if first is not None and latent.shape[1:] != first.shape[1:]:
                raise DataError(
                    path,
                    "latents",
                    f"cells of {tuple(latent.shape[1:])}, but {first.shape[1:]} in the view "
                    f"{next(iter(out))}.",
                )
            if len(latent) < self.heads[index].length:
                raise DataError(
                    path,
                    "latents",
                    f"it has {len(latent)} frames, but the episode has {self.heads[index].length}.",
                )
            out[view] = latent[: self.heads[index].length].float().numpy()
        return out

    def _head(self, name: str, file: Path) -> tuple[Head, dict[str, tuple[int, int]]]:
        note = load_json(file)
        states = _states(note, file)
        videos = need(note, "videos", list, file)
        if not 1 <= len(videos) <= len(VIEWS):
            raise DataError(file, "videos", f"there are {len(videos)} videos; expected 1 to 3.")
        sizes, counts, paired = {}, {}, {}
        for place in range(len(videos)):
            view = VIEWS[place]
            found = self._video(note, file, place)
            video = probe(found)
            paired[view] = len(frames_in_turn(found, len(states), FPS, episode=name))
            sizes[view], counts[view] = (video.height, video.width), video.frames
            if abs(rate(video.fps, file, f"videos[{place}]") - FPS) > 0.01:
                self._odd(
                    "fps-tag", name, view, f"the video states {video.fps:g} fps, but its frames "
                    f"are those of the states, at {FPS:g} fps. They are read at {FPS:g} fps."
                )  # fmt: skip
        length = min(paired.values())
        if set(counts.values()) != {len(states)}:
            self._odd(
                "frame-count", name, "videos", f"{len(states)} states and "
                f"{', '.join(f'{n} frames of {view}' for view, n in counts.items())}; "
                f"only the first {length} are used."
            )  # fmt: skip
        said = note.get("video_length")
        if said != length:
            self._odd(
                "frame-count",
                name,
                "video_length",
                f"states {said} frames, but there are {length}.",
            )
        if "action.cartesian_position" not in note:
            self._odd(
                "actions-made-up", name, "action.cartesian_position", "there are no raw commands, "
                "so the pose reached at the next frame is used as the action. It is where the arm "
                "went, not what was commanded."
            )  # fmt: skip
        texts = note.get("texts") or [""]
        task = texts[0] if isinstance(texts, list) and isinstance(texts[0], str) else ""
        listed = texts if isinstance(texts, list) else []
        others = [text for text in listed[1:] if text and text != task]
        if others:
            self._odd(
                "several-tasks", name, "texts", f"contain {1 + len(others)} texts; the first is "
                f"used ({task!r}), not {', '.join(map(repr, others))}."
            )  # fmt: skip
        if not task:
            self._odd(
                "no-task", name, "texts", "contain no task text, so language-conditioned models "
                "cannot learn from this episode. Add one, or use the episode for dynamics only."
            )  # fmt: skip
        success = _success(note, file)
        if success is None and note.get("success") is not None:
            self._odd(
                "no-success", name, "success", f"is {note['success']!r}, so success is unknown."
            )
        head = Head(
            id=name,
            length=length,
            task=task,
            success=success,
            split=file.parent.name,
        )
        return head, sizes

    def _video(self, note: Mapping[str, Any], file: Path, place: int) -> Path:
        listed = need(note, "videos", list, file)
        relative = _entry(listed, place, "video_path", file)
        found = inside(self.path, relative, owner=file, field=f"videos[{place}].video_path")
        self._named.add(found)
        return found

    def _place(self, view: str) -> int:
        self.choose([view])
        return VIEWS.index(view)

    def _odd(self, code: str, episode: str, field: str, text: str) -> None:
        self.findings.append(
            DataFinding(code=code, severity="note", episode=episode, field=field, text=text)
        )

    def _ids(self) -> set[str]:
        return {head.id for head in self.heads}


def _groups() -> Groups:
    return (
        ColumnGroup(names=POSE[:3], means="position", unit="m"),
        ColumnGroup(names=POSE[3:6], means="rotation", form="euler", unit="rad"),
        ColumnGroup(names=POSE[6:], means="gripper", open=0.0, closed=1.0),
    )


def _states(note: Mapping[str, Any], file: Path) -> Float32[Array, "t 7"]:
    states = numbers(need(note, "states", list, file), file, "states", columns=len(POSE))
    if len(states) < 2:
        raise DataError(file, "states", f"{len(states)} rows are too few for an episode.")
    return states


def _commands(
    note: Mapping[str, Any], file: Path, pose: Float32[Array, "t 7"]
) -> Float32[Array, "t 7"]:
    if "action.cartesian_position" not in note:
        return np.concatenate([pose[1:], pose[-1:]])
    arm = numbers(note["action.cartesian_position"], file, "action.cartesian_position", columns=6)
    key = "action.gripper_position"
    hand = numbers(need(note, key, list, file), file, key, columns=1)
    if len(arm) != len(hand) or not len(arm):
        raise DataError(file, key, f"it has {len(hand)} rows, but the arm has {len(arm)}.")
    every = round(RAW_FPS / FPS)
    # Frame t is raw row 3t, so row 3t + 2 is the last command before frame t + 1.
    last = np.minimum(np.arange(len(pose)) * every + every - 1, len(arm) - 1)
    return np.concatenate([arm, hand], axis=1)[last]


def _success(note: Mapping[str, Any], file: Path) -> bool | None:
    try:
        return truth(note.get("success"))
    except ValueError as error:
        raise DataError(file, "success", f"{error}.") from error


def _entry(listed: list[Any], place: int, key: str, file: Path) -> str:
    entry = listed[place] if place < len(listed) else None
    if not isinstance(entry, dict) or not isinstance(entry.get(key), str):
        raise DataError(file, f"[{place}].{key}", "the path is missing.")
    return entry[key]


def _order(file: Path) -> tuple[str, int, str]:
    number = re.fullmatch(r"\d+", file.stem)
    return file.parent.name, int(file.stem) if number else 0, file.stem
