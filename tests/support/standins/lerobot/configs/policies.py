"""`PreTrainedConfig.from_pretrained`: settings from a checkpoint's config.json."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any


@dataclass
class PreTrainedConfig:
    """The settings of any of the policies here."""

    type: str
    input_features: dict[str, Any]
    output_features: dict[str, Any]
    n_obs_steps: int = 1
    n_action_steps: int = 1
    chunk_size: int = 8
    action_chunk_size: int = 5
    temporal_ensemble_coeff: float | None = None
    resize_shape: tuple[int, int] | None = None
    noise: float = 0.0
    relative: bool = False
    device: str = "cpu"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def image_features(self) -> dict[str, Any]:
        return {key: f for key, f in self.input_features.items() if f.type == "VISUAL"}

    @classmethod
    def from_pretrained(cls, folder: str | Path, **_: Any) -> "PreTrainedConfig":
        raw = json.loads((Path(folder) / "config.json").read_text())
        for key in ("input_features", "output_features"):
            raw[key] = {name: SimpleNamespace(**feature) for name, feature in raw[key].items()}
        return cls(**raw)
