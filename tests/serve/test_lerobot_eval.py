"""LeRobot's own `lerobot-eval` on a served world model, by the command of docs/policies.md.

LeRobot lives in an environment of its own: `worldeval env lerobot`, and WORLDEVAL_LEROBOT=FOLDER.
"""

import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.serve.test_env import far, setting
from tests.support.serving import serving
from worldeval.errors import UserError
from worldeval.policy.remote.beside import lerobot_python
from worldeval.serve.world import WorldService

ROOT = Path(__file__).parents[2]
# Run by LeRobot's Python: an ACT policy with random weights that fits the environment's features.
MADE = """
import sys
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.factory import make_pre_post_processors

out, views, size, pose, action = sys.argv[1], sys.argv[2].split(","), *map(int, sys.argv[3:])
inputs = {
    f"observation.images.{view}": PolicyFeature(type=FeatureType.VISUAL, shape=(3, size, size))
    for view in views
}
inputs["observation.state"] = PolicyFeature(type=FeatureType.STATE, shape=(pose,))
outputs = {"action": PolicyFeature(type=FeatureType.ACTION, shape=(action,))}
config = ACTConfig(
    input_features=inputs, output_features=outputs, chunk_size=4, n_action_steps=2, dim_model=32,
    n_heads=2, dim_feedforward=32, n_encoder_layers=1, pretrained_backbone_weights=None,
    use_vae=False, device="cpu", push_to_hub=False,
)
stats = {
    key: {"mean": torch.zeros(each.shape[:1]), "std": torch.ones(each.shape[:1])}
    for key, each in {**inputs, **outputs}.items()
}
for key in inputs:
    if "images" in key:
        stats[key] = {name: value[:, None, None] for name, value in stats[key].items()}
for part in (ACTPolicy(config), *make_pre_post_processors(config, dataset_stats=stats)):
    part.save_pretrained(out)
"""


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return lerobot_python()
    except UserError as error:
        pytest.skip(str(error))


def documented() -> list[str]:
    """The words of the command in docs/policies.md."""
    page = re.sub(r" *\\\n +", " ", (ROOT / "docs/policies.md").read_text())
    (line,) = re.findall(r"^    (\S+/lerobot-eval .+)$", page, re.M)
    return shlex.split(line)


def test_the_documented_command_names_the_plugin() -> None:
    words = documented()
    assert "--env.discover_packages_path=worldeval.serve.lerobot_plugin" in words
    assert "--env.type=worldeval" in words


@pytest.mark.slow
def test_lerobot_evaluates_its_policy_in_the_world_model(python: Path, tmp_path: Path) -> None:
    own = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    environment = {**os.environ, **own}
    with serving(WorldService(setting(far))) as (url, _):
        model = tmp_path / "outputs/act/checkpoints/000010/pretrained_model"
        made = [str(python), "-c", MADE, str(model), "side,top", "8", "3", "3"]
        done = subprocess.run(made, capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        here = {"--policy.path": str(model), "--env.url": url}
        words = [f"{key}={here.get(key, value)}" for key, _, value in
                 (word.partition("=") for word in documented()[1:])]  # fmt: skip
        done = subprocess.run(
            [str(python.parent / "lerobot-eval"), *words, f"--output_dir={tmp_path / 'eval'}"],
            capture_output=True, text=True, env=environment,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (info,) = (tmp_path / "eval").rglob("eval_info.json")
    overall = json.loads(info.read_text())["overall"]
    assert overall["n_episodes"] == 4 and 0 <= overall["pc_success"] <= 100
