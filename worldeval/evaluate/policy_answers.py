"""A policy's answers to recorded observations, as they are or changed, and their errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import degrees
from time import monotonic

import numpy as np

from worldeval.axes import Array, Bool, Float, Float32
from worldeval.data.columns import ColumnGroup, ColumnMeanings, Groups
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.policy.misread.distance import action_distance
from worldeval.policy.misread.misreading import NOTHING, Misreading, Moved, See, Untried
from worldeval.policy.misread.motion import paired_columns, unit_factor
from worldeval.policy.misread.recorded import COMPARED, Segments
from worldeval.policy.misread.rotations import rotations_of, written
from worldeval.policy.protocol import Policy
from worldeval.rollout.apart import told
from worldeval.stats.misreading import ErrorsOfChange

SHUFFLES = 3
KNOWN = 0.5  # share of the compared frames that a lag may not reduce further


@dataclass(frozen=True, kw_only=True)
class ColumnError:
    """The mean error of some columns of the action, before and after a change."""

    columns: str
    unit: str
    before: float
    after: float


class PolicyAnswers:
    """A policy's answers to changed observations, and their errors."""

    def __init__(
        self,
        policy: Policy,
        drawn: Segments,
        source: Source,
        *,
        rng: np.random.Generator,
        deadline: float,
    ) -> None:
        self._policy, self._drawn, self._deadline = policy, drawn, deadline
        self.refused: dict[str, Untried] = {}
        self.chunk = policy.spec.replans(COMPARED)
        size = policy.spec.action_dim
        self.meaning = _meaning(source, size)
        width = sum(map(len, self.meaning.action))
        self._shape = (size // width, width)
        self.steps = np.concatenate(drawn.actions).reshape(-1, width)
        self._distance = action_distance(self.meaning.action, self.steps)
        self.episodes = np.unique(drawn.episode)
        self._others = [self._other_rows(rng) for _ in range(SHUFFLES)]
        self._answers: dict[int, tuple[See | None, Float32[Array, "r l k a"]]] = {}
        self._errors: dict[str, Float[Array, "e g"]] = {}
        self._shifts = [0]
        self._targets: dict[int, tuple[Float[Array, "n s w"], Bool[Array, "r l k"]]] = {}
        self._poses: Moved | None = None
        # The first call shows what a call costs; it is also where most mistakes show.
        clock = monotonic()
        try:
            self._ask(NOTHING, calls=1)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"Policy {policy.spec.name} cannot act on observations of {source.spec.path}: "
                f"{told(error)}"
            ) from error
        self._cost = monotonic() - clock

    def shifts(self, wanted: Sequence[int]) -> tuple[tuple[int, ...], list[Untried]]:
        """Return the lags, both ways, for which the recorded episodes are long enough."""
        known = self._drawn.demonstrated(self.chunk, 0)[1]
        fit, short = list[int](), list[Untried]()
        for shift in wanted:
            both_ways = [self._drawn.demonstrated(self.chunk, s)[1] for s in (shift, -shift)]
            if (both_ways[0] & both_ways[1] & known).sum() >= KNOWN * known.sum():
                fit += [shift, -shift]
            else:
                reason = "the recorded episodes are too short"
                short.append(Untried(code=f"lag {shift}", reason=reason))
        return tuple(fit), short

    def prepare(self, found: Sequence[Misreading]) -> None:
        """Shorten the segments to what fits into the time, and note the lags to compare."""
        self._shifts = sorted({0, *(each.shift for each in found)})
        runs = 1 + sum(each.see is not None for each in found)
        calls = int(max(self._deadline - monotonic(), 0) / max(2 * runs * self._cost, 1e-9))
        if calls < self._drawn.calls:
            self._drawn = self._drawn.first(max(calls, 1))
        self._targets, self._poses = {}, None

    def errors(self, change: Misreading) -> Float[Array, "e g"]:
        """Return the error of every episode and group of columns after a change."""
        if change.code not in self._errors:
            self._errors[change.code] = self._error(change, self._answered(change))
        return self._errors[change.code]

    def shuffled(self, change: Misreading, touches: Sequence[int] | None) -> float:
        """Return the mean error with answers to moments of other episodes."""
        answers = self._answered(change)
        errors = [self._error(change, answers[rows]) for rows in self._others]
        return float(self.mean(np.mean(errors, axis=0), touches).mean())

    def standing(self, change: Misreading) -> float | None:
        """Return how far off standing still is, for every unit of error after a change.

        Targets of a moment ago are where the robot is now, so that whatever stands still seems to
        lag. Only columns that move the robot count; None if none is known to.
        """
        moving = [pair[0] for pair in paired_columns(self.meaning)]
        if not moving:
            return None
        still = Misreading(code="stand", family="", text="", act=self._still, shift=change.shift)
        stood = self.mean(self._error(still, self._answered(NOTHING)), moving).mean()
        return float(stood / max(self.mean(self.errors(change), moving).mean(), 1e-12))

    def mean(self, errors: Float[Array, "e g"], touches: Sequence[int] | None) -> Array:
        """Average groups by their number of columns: all of them, or those touched."""
        weight = self._distance.weight.copy()
        if touches is not None:
            weight[[i for i in range(len(weight)) if i not in touches]] = 0
        return errors @ weight / max(weight.sum(), 1e-12)

    def compared(
        self, change: Misreading, base: Misreading, whole: Misreading, touches: Sequence[int] | None
    ) -> ErrorsOfChange:
        """Return the errors of `base` and of `whole`, which adds `change`, on some groups."""
        before, after = self.errors(base), self.errors(whole)
        return ErrorsOfChange(
            code=change.code,
            before=self.mean(before, touches),
            after=self.mean(after, touches),
            total=self.mean(after, None),
            returned=change.act is not None,
        )

    @property
    def moving(self) -> tuple[int, ...]:
        """The groups of columns that move in the recordings."""
        return tuple(np.flatnonzero(self._distance.weight).tolist())

    def columns(self, change: Misreading) -> tuple[ColumnError, ...]:
        """Return the error of every group of columns in its own unit, before and after."""
        before, after = (self._plain(each) for each in (NOTHING, change))
        out = []
        for index, group in enumerate(self.meaning.action):
            if change.touches is None or index in change.touches:
                turned = group.means == "rotation"
                numbers = [float(each[index]) for each in (before, after)]
                one, other = map(degrees, numbers) if turned else numbers
                out.append(
                    ColumnError(
                        columns=named_columns(group),
                        unit="deg" if turned else group.unit,
                        before=one,
                        after=other,
                    )
                )
        return tuple(out)

    def _answered(self, change: Misreading) -> Float32[Array, "r l k a"]:
        key = id(change.see)
        if key not in self._answers:
            if change.see is not None and monotonic() > self._deadline:
                raise TimeoutError("there was no time left for it")
            self._answers[key] = (change.see, self._ask(change, calls=self._drawn.calls))
        return self._answers[key][1]

    def _ask(self, change: Misreading, *, calls: int) -> Float32[Array, "r l k a"]:
        drawn, out = self._drawn, []
        self._policy.reset(drawn.tasks, drawn.seeds)
        for call in range(calls):
            chunk = np.asarray(self._policy.act(change.seen(drawn.observation(call)).own()))
            size = self._policy.spec.action_dim
            if chunk.ndim != 3 or len(chunk) != len(drawn.tasks) or chunk.shape[2] != size:
                raise UserError(
                    f"Policy {self._policy.spec.name} returned actions of shape {chunk.shape}; "
                    f"expected ({len(drawn.tasks)}, chunk, {size})."
                )
            out.append(chunk[:, : self.chunk].astype(np.float32))
        return np.stack(out, axis=1)

    def _error(self, change: Misreading, answers: Float32[Array, "r l k a"]) -> Float[Array, "e g"]:
        wanted, known = self._wanted(change.shift)
        error = self._by_rows(self._distance, change, answers, wanted)
        count = known.reshape(len(known), -1)
        summed = (error.reshape(*count.shape, -1) * count[:, :, None]).sum(1)
        own = self._drawn.episode[None] == self.episodes[:, None]
        return own @ summed / np.maximum(own @ count.sum(1), 1)[:, None]

    def _by_rows(
        self,
        distance: Callable[[Array, Array], Array],
        change: Misreading,
        answers: Float32[Array, "r l k a"],
        wanted: Float[Array, "n s w"],
    ) -> Float[Array, "n g"]:
        used = answers[:, self._drawn.settled :].reshape(-1, *self._shape)
        actions = change.acted(used.astype(np.float64), self._moved())
        flat = distance(actions.reshape(-1, self._shape[1]), wanted.reshape(-1, self._shape[1]))
        return flat.reshape(len(actions), self._shape[0], -1).mean(1)

    def _plain(self, change: Misreading) -> Float[Array, " g"]:
        wanted, known = self._wanted(change.shift)
        error = self._by_rows(self._distance.plain, change, self._answered(change), wanted)
        return error[known.reshape(-1)].mean(0)

    def _still(self, actions: Float[Array, "n s w"], moved: Moved) -> Float[Array, "n s w"]:
        """Replace every action that moves the robot by one that does not."""
        out = np.array(actions)
        for _, group, span, own, where in paired_columns(self.meaning):
            if group.motion == "absolute" and group.means != "rotation":
                factor = unit_factor(own, group) or 1.0
                out[:, :, span] = moved.now[:, None, where] / factor
            elif group.motion == "absolute":
                read = (str(own.form), own.factor or 1.0)
                turned = rotations_of(moved.now[:, where], *read)
                out[:, :, span] = written(turned, str(group.form), group.factor or 1.0)[:, None]
            else:
                out[:, :, span] = 0.0  # a rotation that is none is read as no rotation
        return out

    def _wanted(self, shift: int) -> tuple[Float[Array, "n s w"], Bool[Array, "r l k"]]:
        if shift not in self._targets:
            known = np.logical_and.reduce(
                [self._drawn.demonstrated(self.chunk, each)[1] for each in self._shifts]
            )
            wanted = self._drawn.demonstrated(self.chunk, shift)[0]
            begin = self._drawn.settled
            self._targets[shift] = (wanted[:, begin:].reshape(-1, *self._shape), known[:, begin:])
        return self._targets[shift]

    def _moved(self) -> Moved:
        if self._poses is None:
            poses = self._drawn.poses(self.chunk)[:, self._drawn.settled :].astype(np.float64)
            asked = np.broadcast_to(poses[:, :, :1], poses.shape)
            width = poses.shape[-1]
            self._poses = Moved(now=poses.reshape(-1, width), asked=asked.reshape(-1, width))
        return self._poses

    def _other_rows(self, rng: np.random.Generator) -> Array:
        """Draw for every row one of another episode."""
        episode = self._drawn.episode
        return np.array([rng.choice(np.flatnonzero(episode != own)) for own in episode])


def _meaning(source: Source, action_dim: int) -> ColumnMeanings:
    """Return the meaning of one controller step's action; plain numbers where it does not fit."""
    meaning = source.spec.meaning
    width = sum(map(len, meaning.action))
    action: Groups = meaning.action
    if not width or action_dim % width:
        names = tuple(f"action{i}" for i in range(action_dim))
        action = (ColumnGroup(names=names),)
    pose = meaning.pose if sum(map(len, meaning.pose)) == len(source.spec.pose_names) else ()
    return ColumnMeanings(action=action, pose=pose)


def named_columns(group: ColumnGroup) -> str:
    names = group.names
    return ", ".join(names) if len(names) <= 4 else f"{names[0]} to {names[-1]}"
