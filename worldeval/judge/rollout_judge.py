"""Let a judge of frames judge imagined roll-outs: decode, ask once, calibrate, check the answers.

Answers are stored by the content of what was judged (frames, proprioception, actions, instruction)
and the judge's version, so that a continued run asks nothing twice.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.axes import Array, Float
from worldeval.config import build
from worldeval.errors import UserError
from worldeval.files import read_json, write_json
from worldeval.judge.correction import Correction
from worldeval.judge.made_for import MadeFor
from worldeval.judge.protocol import Appraisal, FrameJudge, Judged, Render, looks
from worldeval.record import Episode, Rollout, Verdict

NO_ANSWER = "the judge gave no reason"


class RolloutJudge:
    """A judge of roll-outs that asks a judge of frames."""

    made_for: MadeFor | None = None

    def __init__(
        self,
        judge: FrameJudge,
        render: Render,
        *,
        fps: float,
        correction: Correction | None = None,
        cache: Path | None = None,
    ) -> None:
        """Wrap `judge`.

        Args:
            render: decodes a roll-out's frames.
            fps: world frames per second, which episodes are told.
            correction: of its probabilities; None: they are taken as they are.
            cache: folder for answers; None: they are not stored.
        """
        self.name = judge.name
        self._judge, self._render, self._fps = judge, render, fps
        self._correction, self._cache = correction or Correction(), cache
        self._known: dict[str, Appraisal] = {}  # answers of this process, by fingerprint

    def __call__(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Return a verdict for each roll-out; the probability is NaN where the judge abstains."""
        return self.judged(rollouts).verdicts

    def judged(self, rollouts: Sequence[Rollout]) -> Judged:
        """Return verdicts and frame-by-frame evidence.

        A judge that gives one probability for a whole episode has it as evidence at every frame.
        """
        said = self._appraised(rollouts)
        evidence = self._evidence(rollouts, said)
        verdicts = []
        for row, appraisal, rollout in zip(evidence, said, rollouts, strict=True):
            given = np.array(math.nan if appraisal.probability is None else appraisal.probability)
            votes = self._correction(np.array(appraisal.votes or (float(given),)), rollout.task)
            verdicts.append(
                Verdict(
                    probability=float(self._correction(given, rollout.task)),
                    step=_peak(row, appraisal),
                    judge=self.name,
                    votes=tuple(float(vote) for vote in votes),
                )
            )
        return Judged(
            verdicts=verdicts,
            evidence=evidence,
            abstained=tuple(
                (each.reason or NO_ANSWER) if each.probability is None else "" for each in said
            ),
        )

    def over_time(self, rollouts: Sequence[Rollout]) -> Float[Array, "b t"]:
        """Return the probability of success at each frame, as in `judged`."""
        return self._evidence(rollouts, self._appraised(rollouts))

    def knows(self, task: str) -> bool:
        """Whether the judge can judge this task; judges of frames are told it in words."""
        return bool(task)

    def _evidence(
        self, rollouts: Sequence[Rollout], said: Sequence[Appraisal]
    ) -> Float[Array, "b t"]:
        out = np.full((len(rollouts), len(rollouts[0].pose) if rollouts else 0), np.nan, np.float32)
        for row, appraisal in enumerate(said):
            if appraisal.probability is not None:
                told = appraisal.by_frame
                shown = np.full(out.shape[1], appraisal.probability) if told is None else told
                out[row] = self._correction(shown, rollouts[row].task)
        return out

    def _appraised(self, rollouts: Sequence[Rollout]) -> list[Appraisal]:
        """Ask for every roll-out whose answer is not stored."""
        episodes = [self._episode(rollout) for rollout in rollouts]
        keys = [_fingerprint(episode, self._judge) for episode in episodes]
        said: dict[int, Appraisal] = {
            row: kept for row, key in enumerate(keys) if (kept := self._kept(key)) is not None
        }
        asked = [row for row in range(len(episodes)) if row not in said]
        if asked:
            answers = self._judge.judge([own_copy(episodes[row]) for row in asked])
            if len(answers) != len(asked):
                raise UserError(
                    f"The judge {self.name} returned {len(answers)} appraisals for {len(asked)} "
                    "episodes; it must return one for each, in order."
                )
            for row, answer in zip(asked, answers, strict=True):
                said[row] = checked(answer, frames=len(episodes[row]), judge=self.name)
                self._keep(keys[row], said[row])
        return [said[row] for row in range(len(episodes))]

    def _episode(self, rollout: Rollout) -> Episode:
        """Return what a judge may see: nothing that tells which policy acted."""
        return Episode(
            id=f"{rollout.start}-{rollout.seed}",
            frames=self._render(rollout) if looks(self._judge) else {},
            actions=np.concatenate([rollout.actions, rollout.actions[-1:]]),
            pose=rollout.pose,
            task=rollout.task,
            success=None,
            fps=self._fps,
        )

    def _kept(self, key: str) -> Appraisal | None:
        if key in self._known:
            return self._known[key]
        if self._cache is None or not (path := self._cache / f"{key}.json").is_file():
            return None
        raw = read_json(path)
        by_frame = raw.pop("by_frame", None)
        said = build(Stored, raw, where=str(path))
        shown = None if by_frame is None else np.array(by_frame, np.float32)
        return Appraisal(**asdict(said), by_frame=shown)

    def _keep(self, key: str, said: Appraisal) -> None:
        """Store an answer. What failed is not stored, so that it is asked again."""
        if said.probability is None:
            return
        self._known[key] = said
        if self._cache is None:
            return
        self._cache.mkdir(parents=True, exist_ok=True)
        content: dict[str, Any] = {
            "probability": said.probability, "votes": list(said.votes), "reason": said.reason,
            "tokens": said.tokens, "seconds": round(said.seconds, 3),
        }  # fmt: skip
        if said.by_frame is not None:
            content["by_frame"] = [round(float(each), 6) for each in said.by_frame]
        write_json(self._cache / f"{key}.json", content)


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A stored answer, without its evidence."""

    probability: float
    votes: tuple[float, ...] = ()
    reason: str = ""
    tokens: int = 0
    seconds: float = 0.0


def checked(answer: Any, *, frames: int, judge: str) -> Appraisal:
    """Convert what a judge returned to an appraisal: also a number, numbers by frame, or None.

    Numbers by frame count as a success if any frame does: the probability is their maximum after
    the first frame.

    Raises:
        UserError: it is none of these, or a probability is outside 0 to 1.
    """
    if not isinstance(answer, Appraisal):
        answer = _appraisal(answer, judge)
    numbers = [] if answer.probability is None else [answer.probability]
    by_frame = answer.by_frame
    if by_frame is not None:
        by_frame = np.asarray(by_frame, np.float32)
        if by_frame.shape != (frames,):
            raise UserError(
                f"The judge {judge} returned evidence of shape {by_frame.shape} for an episode of "
                f"{frames} frames; expected one number per frame."
            )
        numbers += by_frame.tolist()
    for number in (*numbers, *answer.votes):
        if not isinstance(number, int | float) or not 0 <= number <= 1:
            raise UserError(
                f"The judge {judge} returned {number!r} as a probability. It must be a number from "
                "0 to 1, or None to abstain."
            )
    return replace(answer, by_frame=by_frame, reason=str(answer.reason)[:2000])


def _appraisal(answer: Any, judge: str) -> Appraisal:
    if answer is None:
        return Appraisal(probability=None)
    if isinstance(answer, bool | np.bool_ | int | float | np.integer | np.floating):
        return Appraisal(probability=float(answer))
    try:
        by_frame = np.asarray(answer, np.float32)
    except (TypeError, ValueError):
        by_frame = None
    if by_frame is None or by_frame.ndim != 1 or len(by_frame) < 2:
        raise UserError(
            f"The judge {judge} returned a {type(answer).__name__}, not an appraisal: return a "
            "probability, one per frame, None to abstain, or worldeval.judge.protocol.Appraisal."
        )
    return Appraisal(probability=float(by_frame[1:].max()), by_frame=by_frame)


def _peak(evidence: Float[Array, " t"], said: Appraisal) -> int:
    """Return the frame after the first with the highest evidence; the last if all are equal."""
    return len(evidence) - 1 if said.by_frame is None else int(evidence[1:].argmax()) + 1


def _fingerprint(episode: Episode, judge: FrameJudge) -> str:
    digest = hashlib.sha256(f"{judge.name}\0{judge.version}\0{episode.task}\0".encode())
    for name, array in (*sorted(episode.frames.items()), ("", episode.pose), ("", episode.actions)):
        digest.update(f"{name}{array.shape}{array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:40]


def own_copy(episode: Episode) -> Episode:
    """Return an episode that foreign code may change."""
    frames: Mapping[str, Array] = {view: np.array(film) for view, film in episode.frames.items()}
    return replace(
        episode, frames=frames, pose=np.array(episode.pose), actions=np.array(episode.actions)
    )
