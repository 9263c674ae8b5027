"""A judge in another environment: `ws://host:port`, served by `worldeval serve-judge`.

server: {"worldeval-judge": 1, "numbered": true, "name": text, "version": text}
client: {"judge": {"frames": {view: uint8 (t h w 3)}, "pose": float32 (t p),
                   "actions": float32 (t a), "task": text, "fps": number}}
server: {"probability": number or nil, "by_frame": float32 (t), "votes": [numbers], "reason": text}
"""

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any

import numpy as np

from worldeval.errors import UserError
from worldeval.judge.protocol import Appraisal
from worldeval.judge.unanswered import Unanswered
from worldeval.policy.remote.connection import NUMBERED, Connection, Patience, ServerError
from worldeval.policy.remote.tokens import token_for
from worldeval.record import Episode

MARK, VERSION = "worldeval-judge", 1  # identify a server of judges
PARAMS = ("timeout", "wait")


class RemoteJudge:
    """A judge of frames on a server. It connects at once, so that a wrong address is told early.

    An answer that is missing, late or invalid is an abstention, never a success or a failure.
    """

    def __init__(self, url: str, params: Mapping[str, Any]) -> None:
        """Connect.

        Raises:
            UserError: the server cannot be reached, or serves no judge.
        """
        unknown = [name for name in params if name not in PARAMS]
        if unknown:
            raise UserError(f"{url} takes no parameter '{unknown[0]}' (there is: timeout, wait).")
        patience = Patience(
            connect=float(params.get("wait", 30.0)), request=float(params.get("timeout", 60.0))
        )
        self._connection = Connection(url, token=token_for(url), patience=patience)
        said = self._connection.metadata
        if said.get(MARK) != VERSION:
            known = ", ".join(str(key)[:30] for key in said) or "nothing"
            raise UserError(f"{url} does not serve a judge (its metadata has: {known}).")
        if said.get(NUMBERED) is not True:
            raise UserError(f"{url} does not number its answers, so they cannot be matched.")
        self._unanswered = Unanswered()
        self.name, self.version = str(said.get("name"))[:100], str(said.get("version"))[:100]

    def judge(self, episodes: Sequence[Episode]) -> list[Appraisal]:
        """Ask for one episode after the other."""
        return [self._one(episode) for episode in episodes]

    def _one(self, episode: Episode) -> Appraisal:
        if reason := self._unanswered.reason:
            return Appraisal(probability=None, reason=reason)
        began, came = monotonic(), False
        try:
            answer = self._connection.ask({"judge": asked(episode)})
            came = True
            return answered(answer, frames=len(episode), seconds=monotonic() - began)
        except (ServerError, ValueError) as error:
            return Appraisal(probability=None, reason=str(error)[:500])
        finally:
            self._unanswered.note(answered=came)


def asked(episode: Episode) -> dict[str, Any]:
    """Return an episode as a request."""
    return {
        "frames": {view: np.ascontiguousarray(film) for view, film in episode.frames.items()},
        "pose": np.asarray(episode.pose, np.float32),
        "actions": np.asarray(episode.actions, np.float32),
        "task": episode.task,
        "fps": float(episode.fps),
    }


def answered(answer: Mapping[Any, Any], *, frames: int, seconds: float) -> Appraisal:
    """Read an answer.

    Raises:
        ValueError: it is incomplete, or a number is outside 0 to 1.
    """
    if "probability" not in answer:
        raise ValueError(f"the answer has no probability (it has: {', '.join(map(str, answer))})")
    probability = answer["probability"]
    votes = answer.get("votes", ())
    if not isinstance(votes, list | tuple) or len(votes) > 1000:
        raise ValueError("'votes' must be a list of numbers")
    for number in (*votes, *(() if probability is None else (probability,))):
        if type(number) not in (int, float) or not 0 <= number <= 1:
            raise ValueError(f"{str(number)[:40]!r} is not a probability from 0 to 1")
    by_frame = answer.get("by_frame")
    if by_frame is not None:
        if not isinstance(by_frame, np.ndarray) or by_frame.shape != (frames,):
            raise ValueError(f"'by_frame' must be an array of {frames} numbers, one per frame")
        by_frame = by_frame.astype(np.float32)
        if not ((by_frame >= 0) & (by_frame <= 1)).all():
            raise ValueError("'by_frame' has numbers outside 0 to 1")
    return Appraisal(
        probability=None if probability is None else float(probability),
        by_frame=by_frame,
        votes=tuple(float(vote) for vote in votes),
        reason=str(answer.get("reason", ""))[:2000],
        seconds=seconds,
    )
