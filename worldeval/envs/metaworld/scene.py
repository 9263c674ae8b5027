"""Camera placement. In Meta-World's own views the object is too small to recognise a near miss."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A MuJoCo free camera: a point to look at (m), a distance (m) and two angles (degrees)."""

    name: str
    lookat: tuple[float, float, float]
    distance: float
    azimuth: float
    elevation: float


# The arm's elbow swings out at negative x, so both cameras are on the other side of it.
def _two(
    side: tuple[float, float, float], near: float, top: tuple[float, float, float], far: float
) -> tuple[Camera, Camera]:
    return (
        Camera(name="side", lookat=side, distance=near, azimuth=130, elevation=-25),
        Camera(name="top", lookat=top, distance=far, azimuth=180, elevation=-60),
    )


CAMERAS = {
    "drawer-open-v3": _two((0, 0.66, 0.12), 0.74, (0, 0.69, 0.11), 0.76),
    "door-open-v3": _two((0.10, 0.66, 0.15), 0.90, (0.10, 0.70, 0.15), 0.92),
    "button-press-topdown-v3": _two((0, 0.72, 0.19), 0.74, (0, 0.75, 0.19), 0.78),
    "window-open-v3": _two((0.02, 0.65, 0.18), 0.80, (0.02, 0.69, 0.17), 0.82),
    "faucet-open-v3": _two((0.02, 0.67, 0.13), 0.70, (0.02, 0.70, 0.13), 0.72),
}
DEFAULT = _two((0, 0.66, 0.15), 0.85, (0, 0.70, 0.15), 0.88)


def cameras(task: str) -> tuple[Camera, Camera]:
    """The two cameras of a task; tasks without their own get the general pair."""
    return CAMERAS.get(task, DEFAULT)
