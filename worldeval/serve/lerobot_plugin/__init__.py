# LeRobot has its own environment, and draccus reads the types of these fields.
# pyright: reportInvalidTypeForm=false, reportUntypedBaseClass=false
"""A served world model as an environment for LeRobot's evaluation, under the type `worldeval`.

    lerobot-eval --policy.path=outputs/act/checkpoints/last/pretrained_model \\
        --env.discover_packages_path=worldeval.serve.lerobot_plugin \\
        --env.type=worldeval --env.url=ws://localhost:8001 --eval.n_episodes=10 --eval.batch_size=2

LeRobot discovers packages only, so this is a package and not a single module.
"""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from worldeval.serve.client import RemoteEpisodes
from worldeval.serve.gym_ids import WORLD, register

register()
_envs: Any = import_module("lerobot.envs.configs")
_types: Any = import_module("lerobot.configs.types")
ACTION, STATE, IMAGES = "action", "observation.state", "observation.images"


@_envs.EnvConfig.register_subclass("worldeval")
@dataclass
class ServedWorldConfig(_envs.EnvConfig):
    """The server's description of its world model as LeRobot's environment settings."""

    task: str | None = None  # the server's starts have their own
    url: str = "ws://localhost:8001"
    fps: int = 0
    features: dict[str, _types.PolicyFeature] = field(default_factory=dict)
    features_map: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        asked = RemoteEpisodes(self.url)
        place = asked.place
        asked.close()
        kind, feature = _types.FeatureType, _types.PolicyFeature
        self.fps = round(place.fps)
        self.features = {
            ACTION: feature(type=kind.ACTION, shape=(place.action_dim,)),
            "agent_pos": feature(type=kind.STATE, shape=(place.pose_dim,)),
        }
        self.features_map = {ACTION: ACTION, "agent_pos": STATE}
        for view in place.views:
            key = f"pixels/{view}"
            self.features[key] = feature(type=kind.VISUAL, shape=(*place.size, 3))
            self.features_map[key] = f"{IMAGES}.{view}"

    @property
    def package_name(self) -> str:
        return __name__

    @property
    def gym_id(self) -> str:
        return WORLD

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return {"url": self.url}
