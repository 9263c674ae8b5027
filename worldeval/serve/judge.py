"""`worldeval serve-judge`: serve a judge of frames, which may need another Python than a run.

See `worldeval/judge/remote.py` for the messages.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from worldeval.judge.protocol import FrameJudge
from worldeval.judge.remote import MARK, VERSION
from worldeval.judge.rollout_judge import checked
from worldeval.policy.remote.connection import NUMBERED
from worldeval.policy.remote.wire import WireError
from worldeval.record import Episode


class JudgeService:
    """One judge for many clients; requests are independent."""

    def __init__(self, judge: FrameJudge) -> None:
        self._judge = judge

    @property
    def metadata(self) -> Mapping[str, Any]:
        return {
            MARK: VERSION, NUMBERED: True, "name": self._judge.name, "version": self._judge.version
        }  # fmt: skip

    def session(self) -> "JudgeService":
        return self

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `judge`."""
        episode = _episode(request.get("judge"))
        (said,) = self._judge.judge([episode])
        said = checked(said, frames=len(episode), judge=self._judge.name)
        answer: dict[str, Any] = {
            "probability": said.probability, "votes": list(said.votes), "reason": said.reason
        }  # fmt: skip
        if said.by_frame is not None:
            answer["by_frame"] = said.by_frame
        return answer


def _episode(asked: Any) -> Episode:
    """Read an episode; everything about it is untrusted."""
    if not isinstance(asked, dict) or not isinstance(asked.get("frames"), dict):
        raise WireError("a request must be {'judge': {'frames': {view: array}, ...}}")
    pose, actions = (_numbers(asked, key) for key in ("pose", "actions"))
    fps = asked.get("fps")
    if not isinstance(asked.get("task"), str) or not isinstance(fps, int | float) or not fps > 0:
        raise WireError("'task' must be a text, and 'fps' a number above 0")
    for view, film in asked["frames"].items():
        good = isinstance(film, np.ndarray) and film.dtype == np.uint8 and film.ndim == 4
        if not isinstance(view, str) or not good or film.shape[3] != 3 or len(film) != len(pose):
            raise WireError("every view must be uint8 (t h w 3), as long as the pose")
    if len(actions) != len(pose) or len(pose) < 2:
        raise WireError("'pose' and 'actions' must have one row per frame, at least two")
    return Episode(
        id="", frames=asked["frames"], actions=actions, pose=pose, task=asked["task"],
        success=None, fps=float(fps),
    )  # fmt: skip


def _numbers(asked: Mapping[str, Any], key: str) -> np.ndarray:
    value = asked.get(key)
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.ndim != 2:
        raise WireError(f"'{key}' must be a float array with a row per frame")
    return value.astype(np.float32)
