"""Train LeRobot's policies for a few steps on an exported dataset. Runs in LeRobot's environment.

    python interop_train.py DATASET OUT

Writes OUT/<kind>/checkpoints/<step>, by LeRobot's own `lerobot-train`: ACT, ACT with temporal
ensembling, Diffusion on two observation steps and VQ-BeT, small enough for a CPU.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

STEPS, SAVE = 6, 3
CAMERA, STATE = "observation.images.side", "observation.state"
SMALL_ACT = [
    *("--policy.type=act", "--policy.chunk_size=16", "--policy.dim_model=64"),
    *("--policy.dim_feedforward=64", "--policy.n_heads=4", "--policy.n_encoder_layers=1"),
    "--policy.pretrained_backbone_weights=null",
]
KINDS = {
    "act": [*SMALL_ACT, "--policy.n_action_steps=5"],
    "act-ensembling": [
        *SMALL_ACT,
        *("--policy.n_action_steps=1", "--policy.temporal_ensemble_coeff=0.01"),
    ],
    "diffusion": [
        *("--policy.type=diffusion", "--policy.n_obs_steps=2", "--policy.horizon=16"),
        *("--policy.n_action_steps=8", "--policy.crop_shape=[56,56]", "--policy.down_dims=[32,64]"),
        *("--policy.num_inference_steps=10", "--policy.pretrained_backbone_weights=null"),
        "--policy.spatial_softmax_num_keypoints=8",
    ],
    "vqbet": [
        *(
            "--policy.type=vqbet",
            "--policy.crop_shape=[56,56]",
            "--policy.n_vqvae_training_steps=3",
        ),
        *("--policy.gpt_n_layer=1", "--policy.gpt_n_head=2", "--policy.gpt_hidden_dim=64"),
        *("--policy.gpt_input_dim=64", "--policy.gpt_output_dim=64"),
        "--policy.pretrained_backbone_weights=null",
    ],
}


def train(kind: str, dataset: Path, out: Path) -> None:
    """One policy; VQ-BeT reads one camera alone, as LeRobot wants it."""
    info = json.loads((dataset / "meta/info.json").read_text())["features"]
    more = []
    if kind == "vqbet":
        height, width, channels = info[CAMERA]["shape"]
        features = {
            CAMERA: {"type": "VISUAL", "shape": [channels, height, width]},
            STATE: {"type": "STATE", "shape": info[STATE]["shape"]},
        }
        more = [f"--policy.input_features={json.dumps(features)}"]
    command = [
        *(str(Path(sys.executable).parent / "lerobot-train"), f"--output_dir={out / kind}"),
        *("--dataset.repo_id=local/interop", f"--dataset.root={dataset}"),
        *("--dataset.video_backend=pyav", f"--steps={STEPS}", f"--save_freq={SAVE}"),
        *("--batch_size=4", "--num_workers=0", "--log_freq=1", "--seed=1"),
        *("--policy.device=cpu", "--policy.push_to_hub=false", "--wandb.enable=false"),
        *(*KINDS[kind], *more),
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(
            f"{kind}: lerobot-train ended with {done.returncode}\n{done.stderr[-3000:]}"
        )


if __name__ == "__main__":
    dataset, out = (Path(given).resolve() for given in sys.argv[1:3])
    for kind in KINDS:
        if not (out / kind).exists():
            train(kind, dataset, out)
        print(kind, *sorted(p.name for p in (out / kind / "checkpoints").iterdir()), flush=True)
