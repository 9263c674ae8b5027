"""What a policy's network must know of the data that it was trained on."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Dimensions and bounds of the data that a policy was trained on."""

    image: tuple[int, int]  # height, width
    pose_dim: int
    action_dim: int  # of a world frame
    tasks: tuple[str, ...]
    # Bounds of its actions, one per dimension; (): -1 and 1, for actions normalised to them.
    action_low: tuple[float, ...] = ()
    action_high: tuple[float, ...] = ()
