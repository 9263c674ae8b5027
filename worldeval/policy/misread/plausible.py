"""The misreadings that are plausible for one dataset and one policy, likely ones first."""

from collections.abc import Mapping

from worldeval.data.columns import ColumnMeanings
from worldeval.policy.misread.misreading import Misreading, Untried
from worldeval.policy.misread.motion import motion_misreadings
from worldeval.policy.misread.numbers import NumberRange, number_misreadings
from worldeval.policy.misread.pictures import picture_misreadings
from worldeval.policy.misread.rotations import rotation_misreadings


def plausible(
    meaning: ColumnMeanings,
    *,
    views: Mapping[str, tuple[int, int]],
    action: NumberRange,
    pose: NumberRange | None,
    fps: float,
    chunk: int,
    shifts: tuple[int, ...],
) -> tuple[list[Misreading], list[Untried]]:
    """List what may be misread, and what cannot be tried and why.

    Args:
        meaning: of the numbers of one controller step's action, and of the pose.
        views: the policy's, with height and width.
        pose: None if the pose has no numbers.
        chunk: world frames of a chunk that are compared.
        shifts: lags to try, in world frames.
    """
    found, missing = list[Misreading](), list[Untried]()
    parts = [
        number_misreadings("action", meaning.action, action),
        rotation_misreadings("action", meaning.action),
        motion_misreadings(meaning, fps=fps, chunk=chunk),
        ([lag(frames) for frames in shifts], []),
        picture_misreadings(views),
    ]
    if pose is not None:
        parts += [
            number_misreadings("pose", meaning.pose, pose),
            rotation_misreadings("pose", meaning.pose),
        ]
    for some, none in parts:
        found += some
        missing += none
    return found, missing


def lag(frames: int) -> Misreading:
    """Take a policy's actions for those of `frames` world frames later, or earlier if negative."""
    when = "later" if frames > 0 else "earlier"
    count = "one frame" if abs(frames) == 1 else f"{abs(frames)} frames"
    text = f"its actions are carried out {count} {when}"
    return Misreading(code=f"lag{frames:+d}", family="lag", text=text, shift=frames)
