"""One person's drive: what the page asks, one message at a time, and what it is answered.

    {"do": "look"}                                    the newest frame
    {"do": "step", "push": [...], "gripper": 0.0}     one frame with the stick held
    {"do": "step", "policy": "bc/100"}                one frame in which a policy acts
    {"do": "frame", "at": 3}                          an earlier frame
    {"do": "back", "at": 3}                           return to it and remove what came later
    {"do": "judge"}                                   the judge's probability by frame
    {"do": "record"}                                  store the episode

Every answer is plain data. Pictures are JPEG, all views side by side, as data URIs.
"""

import base64
import io
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from worldeval.axes import Array, Float, UInt8
from worldeval.errors import UserError
from worldeval.policy.protocol import Policy
from worldeval.record import Rollout, Verdict
from worldeval.rollout.controls import Stick
from worldeval.rollout.drive import Drive

GAP = 2  # pixels between views
QUALITY = 90  # of JPEG
# Trust below which the page warns: of 60 episodes of three shipped policies in the shipped world
# model, 58 are above it at the last frame of their protocol, the 30th.
DOUBT = 0.7


@runtime_checkable
class EpisodeJudge(Protocol):
    """What is needed of a judge."""

    def judged(self, rollouts: list[Rollout]) -> Any: ...

    def over_time(self, rollouts: list[Rollout]) -> Float[Array, "b t"]: ...


@runtime_checkable
class Recorder(Protocol):
    """Stores an episode and returns a sentence that says where."""

    def __call__(
        self, rollout: Rollout, frames: Mapping[str, Array], verdict: Verdict | None
    ) -> str: ...


class DriveSession:
    """An episode that a page steers; it lives as long as the page's place on the server."""

    def __init__(
        self,
        drive: Drive,
        *,
        judge: EpisodeJudge | None = None,
        policies: Mapping[str, Callable[[], Policy]] | None = None,
        replan_every: int = 2,
        record: Recorder | None = None,
    ) -> None:
        """`policies` maps names to loaders, which are called when a policy first takes over."""
        self.drive, self._judge, self._record = drive, judge, record
        self._offered, self._replan = dict(policies or {}), replan_every
        self._loaded: dict[str, Policy] = {}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Answer a request.

        Raises:
            UserError: it is not a request, or cannot be done; the episode stays as it was.
        """
        what = request.get("do")
        if what == "step":
            self._step(request)
            return self._newest()
        if what == "look":
            return {
                **self._newest(),
                "axes": list(self.drive.controls.names),
                "grips": self.drive.controls.grips,
                "policies": list(self._offered),
                "fps": self.drive.world.spec.fps,
                "views": list(self.drive.world.spec.views),
                "doubt": DOUBT,
                "judges": self._judge is not None,
                "records": self._record is not None,
                "trusts": [round(each, 4) for each in self.drive.trust],
            }
        if what == "frame":
            at = self._place(request)
            return {"frame": at, "image": picture(self.drive.image(at))}
        if what == "back":
            self.drive.back_to(self._place(request))
            return self._newest()
        if what == "judge":
            return self._judged()
        if what == "record":
            return self._recorded()
        raise UserError(f"Unknown request {str(what)[:40]!r}.")

    def _step(self, request: Mapping[str, Any]) -> None:
        if "policy" in request:
            self.drive.act(self._policy(request["policy"]), replan_every=self._replan)
            return
        push = request.get("push", [])
        gripper = request.get("gripper", 0.0)
        if not isinstance(push, list) or len(push) > len(self.drive.controls.axes):
            raise UserError("'push' must be a list with at most one number per direction.")
        numbers = [_deflection(value) for value in (*push, gripper)]
        self.drive.steer(Stick(push=tuple(numbers[:-1]), gripper=numbers[-1]))

    def _policy(self, name: Any) -> Policy:
        if name not in self._offered:
            raise UserError(f"There is no policy {str(name)[:80]!r} to take over.")
        if name not in self._loaded:
            self._loaded[name] = self._offered[name]()
        return self._loaded[name]

    def _place(self, request: Mapping[str, Any]) -> int:
        at = request.get("at")
        if type(at) is not int or not 0 <= at < len(self.drive):
            raise UserError(f"'at' must be a frame from 0 to {len(self.drive) - 1}.")
        return at

    def _newest(self) -> dict[str, Any]:
        return {
            "frame": len(self.drive) - 1,
            "image": picture(self.drive.newest),
            "trust": round(self.drive.trust[-1], 4),
            "driver": self.drive.driver,
        }

    def _judged(self) -> dict[str, Any]:
        if self._judge is None or len(self.drive) < 2:
            return {"probability": []}
        by_frame = self._judge.over_time([self.drive.rollout])[0]
        return {"probability": [round(float(each), 4) for each in by_frame]}

    def _recorded(self) -> dict[str, Any]:
        if self._record is None:
            raise UserError("This viewer has no folder to record episodes in.")
        if len(self.drive) < 2:
            raise UserError("There is nothing to record yet: drive first.")
        rollout = self.drive.rollout
        verdict = None
        if self._judge is not None:
            judged = self._judge.judged([rollout])
            verdict = None if any(judged.abstained) else judged.verdicts[0]
        return {"recorded": self._record(rollout, self.drive.frames, verdict)}


def picture(frames: Mapping[str, UInt8[Array, "_h _w 3"]]) -> str:
    """Encode the views side by side as a data URI."""
    tall = max(image.shape[0] for image in frames.values())
    parts: list[Array] = []
    for image in frames.values():
        under = ((0, tall - image.shape[0]), (0, 0), (0, 0))
        parts += [np.pad(image, under), np.zeros((tall, GAP, 3), np.uint8)]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(parts[:-1], 1)).save(
        buffer, format="JPEG", quality=QUALITY, subsampling=0
    )
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _deflection(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise UserError("Directions and the gripper must be numbers from -1 to 1.")
    return min(max(float(value), -1.0), 1.0)
