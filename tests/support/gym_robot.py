"""A toy robot as a gymnasium environment: two joints, two views of unequal size, a goal to reach.

Registered as `toy/Reach-v0`. Success: both joints within 0.1 of the goal. Pictures show the joints'
and the goal's angles as brightness, so that a test can read them off.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

NAME = "toy/Reach-v0"
STEP = 0.1  # radians that an action of 1 moves a joint


class Reach(gymnasium.Env):
    """`tells`: the key of info that holds success; None tells nothing."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 20}  # noqa: RUF012

    def __init__(
        self,
        render_mode: str | None = None,
        pixels: bool = True,
        tells: str | None = "is_success",
        limit: int = 0,
    ) -> None:
        self.render_mode, self._pixels, self._tells, self._limit = render_mode, pixels, tells, limit
        robot: dict[str, Any] = {
            "agent_pos": spaces.Box(-4, 4, (2,), np.float32),
            "goal": spaces.Box(-4, 4, (2,), np.float32),
        }
        if pixels:
            robot["pixels"] = spaces.Dict(
                {
                    "front": spaces.Box(0, 255, (24, 32, 3), np.uint8),
                    "wrist": spaces.Box(0, 255, (16, 16, 3), np.uint8),
                }
            )
        self.observation_space = spaces.Dict(robot)
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)
        self._drawn = np.zeros((24, 32, 3), np.uint8)  # one buffer, drawn into again and again

    def reset(self, *, seed: int | None = None, options: Any = None):
        super().reset(seed=seed)
        self.joints = np.zeros(2, np.float32)
        self.goal = self.np_random.uniform(-0.5, 0.5, 2).astype(np.float32)
        self.steps = 0
        return self._seen(), self._info()

    def step(self, action):
        self.joints = self.joints + STEP * action
        self.steps += 1
        near = bool(np.abs(self.joints - self.goal).max() < 0.1)
        over = bool(self._limit and self.steps >= self._limit)
        return self._seen(), float(near), near and self._limit > 0, over, self._info()

    def render(self):
        return self._picture()

    def _info(self) -> dict[str, Any]:
        near = np.abs(self.joints - self.goal).max() < 0.1
        return {self._tells: bool(near)} if self._tells else {}

    def _picture(self) -> np.ndarray:
        self._drawn[:] = np.clip(128 + 100 * self.joints[0], 0, 255).astype(np.uint8)
        return self._drawn

    def _seen(self) -> dict[str, Any]:
        seen: dict[str, Any] = {"agent_pos": self.joints.copy(), "goal": self.goal.copy()}
        if self._pixels:
            wrist = np.full((16, 16, 3), np.clip(128 + 100 * self.goal[0], 0, 255), np.uint8)
            seen["pixels"] = {"front": self._picture(), "wrist": wrist}
        return seen


if NAME not in gymnasium.registry:
    gymnasium.register(NAME, entry_point=lambda **given: Reach(**given))
