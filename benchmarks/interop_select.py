# lerobot lives in an environment of its own.
# pyright: reportMissingImports=false
"""What LeRobot itself does with its checkpoints. Runs in LeRobot's environment.

    python interop_select.py SHOWN.npz OUT.npz CHECKPOINT...

SHOWN has frames of every camera (episode, step, h, w, 3), proprioception and seeds; OUT gets the
action of every step, by a loop of `select_action` over one episode after another, each with its
seed, by a line of this file's own and not by worldeval.
"""

import json
import sys
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors


def select(folder: str, shown: dict[str, Any]) -> np.ndarray:
    """(episode, step, a)"""
    config = PreTrainedConfig.from_pretrained(folder)
    config.device = "cpu"
    policy = get_policy_class(config.type).from_pretrained(folder, config=config)
    overrides = {"device_processor": {"device": "cpu"}}
    before, after = make_pre_post_processors(
        config, pretrained_path=folder, preprocessor_overrides=overrides
    )
    return np.stack(
        [episode(policy, before, after, shown, row) for row in range(len(shown["seeds"]))]
    )


def episode(policy: Any, before: Any, after: Any, shown: dict[str, Any], row: int) -> np.ndarray:
    policy.reset()
    torch.manual_seed(int(shown["seeds"][row]))
    actions = []
    for step in range(shown["state"].shape[1]):
        batch: dict[str, Any] = {"task": [str(shown["task"])]}
        for key in policy.config.image_features:
            frame = torch.from_numpy(shown[key.rpartition(".")[2]][row, step])
            batch[key] = frame.permute(2, 0, 1)[None].float() / 255
        batch["observation.state"] = torch.from_numpy(shown["state"][row, step])[None]
        with torch.no_grad():
            actions.append(after(policy.select_action(before(batch)))[0].cpu().numpy())
    return np.stack(actions)


def constructed() -> dict[str, str]:
    """Which of the large policies can be made here without downloads, and what stops the rest."""
    from lerobot.policies import factory

    said = {}
    for kind in ("smolvla", "pi0", "pi05", "pi0_fast"):
        try:
            config = factory.make_policy_config(kind)
            said[kind] = "configuration"
            config.device = "cpu"
        except Exception as error:
            said[kind] = f"not even its configuration: {type(error).__name__}"
    return said


if __name__ == "__main__":
    shown = dict(np.load(sys.argv[1]))
    with redirect_stdout(sys.stderr):
        out = {str(n): select(folder, shown) for n, folder in enumerate(sys.argv[3:])}
        large = constructed()
    np.savez(Path(sys.argv[2]), allow_pickle=False, **out)
    print(json.dumps({"lerobot": version("lerobot"), "torch": torch.__version__, "large": large}))
