# The stand-in finds itself on a path of the tests.
# pyright: reportMissingImports=false
"""Which class a checkpoint's policy has, and its processors."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from lerobot.policies import modeling


def get_policy_class(name: str) -> Any:
    return {"act": modeling.Act, "diffusion": modeling.Diffusion, "vqbet": modeling.Vqbet}[name]


class Pipeline:
    """Steps in a row; here a function, with the normaliser's numbers for who looks at them."""

    def __init__(self, work: Any, steps: list[Any]) -> None:
        self.work, self.steps = work, steps

    def __call__(self, content: Any) -> Any:
        return self.work(content)


def make_pre_post_processors(
    policy_cfg: Any, pretrained_path: str, preprocessor_overrides: dict[str, Any]
) -> tuple[Pipeline, Pipeline]:
    assert preprocessor_overrides["device_processor"]["device"] == policy_cfg.device
    known = json.loads((Path(pretrained_path) / "policy_preprocessor.json").read_text())
    ranges = {key: {end: torch.tensor(v) for end, v in ends.items()} for key, ends in known.items()}
    normaliser = SimpleNamespace(_tensor_stats=ranges)

    last: dict[str, Any] = {}  # relative actions are added to the state that was seen last

    def before(batch: dict[str, Any]) -> dict[str, Any]:
        assert len(batch["task"]) == len(batch["observation.state"])
        last["state"] = batch["observation.state"]
        return dict(batch)

    def after(action: Any) -> Any:
        return 2 * action + (last["state"] if policy_cfg.relative else 0)

    return Pipeline(before, [normaliser]), Pipeline(after, [])
