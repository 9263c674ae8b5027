# diffusers declares its parameters narrower than what they accept.
# pyright: reportArgumentType=false, reportPrivateImportUsage=false
"""What Ctrl-World's authors publish, at a tiny size: random weights by diffusers' own classes, in
the layout of the released files, and a folder of robot episodes like their part of DROID."""

import json
from pathlib import Path

import numpy as np
import torch

from tests.support.clip import WIDTH, tiny_clip
from worldeval.data.video import VideoWriter, read_frames
from worldeval.world.torchvision_ops import need_torchvision

SIZE = (48, 112)  # pixels of a view; of a latent: 6 x 14 cells
TOKEN = 2 * WIDTH  # of a frame: the text's embedding, tiled twice
# The recipe's settings for a network of this size.
SMALL = {
    "unet.widths": [32, 32],
    "unet.heads": [1, 2],
    "unet.attention": [True, False],
    "unet.layers": 1,
    "unet.token": TOKEN,
    "unet.time_width": 8,
}
LENGTH = 10  # frames of an episode
RATE = 3  # raw commands in a frame


def release(folder: Path) -> Path:
    """Write `svd/`, `clip/` and `checkpoint-10000.pt` to `folder`, which exists."""
    need_torchvision()
    import diffusers

    torch.manual_seed(0)
    unet = diffusers.UNetSpatioTemporalConditionModel(
        in_channels=8,
        out_channels=4,
        down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"),
        up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"),
        block_out_channels=(32, 32),
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=24,
        layers_per_block=1,
        cross_attention_dim=TOKEN,
        num_attention_heads=(1, 2),
    )
    vae = diffusers.AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        latent_channels=4,
        scaling_factor=0.18215,
    )
    svd = folder / "svd"
    unet.save_pretrained(svd / "unet")
    vae.save_pretrained(svd / "vae")
    (svd / "model_index.json").write_text('{"_class_name": "StableVideoDiffusionPipeline"}')
    (folder / "clip").mkdir()
    tiny_clip(folder / "clip")
    state = {f"unet.{key}": value for key, value in unet.state_dict().items()}
    state |= {f"vae.{key}": value for key, value in vae.state_dict().items()}
    for index, width in ((0, 7), (2, TOKEN), (4, TOKEN)):
        layer = torch.nn.Linear(width, TOKEN)
        for name, value in layer.state_dict().items():
            state[f"action_encoder.action_encode.{index}.{name}"] = value
    state["image_encoder.visual_projection.weight"] = torch.zeros(4, 4)
    state["text_encoder.text_projection.weight"] = torch.zeros(4, 4)
    torch.save(state, folder / "checkpoint-10000.pt")
    return folder


def droid_like(
    folder: Path, splits: dict[str, int], *, vae: Path | None = None, first: int = 0
) -> Path:
    """Write episodes of a hand that moves, with `splits[name]` episodes in each split.

    Every third fails, and the roll of the hand passes pi in each. With `vae`, the folder of an
    autoencoder, the latents of every view are stored as in the authors' distribution.
    """
    number = first
    for split, count in splits.items():
        for _ in range(count):
            _episode(folder, split, number, vae)
            number += 1
    states = np.concatenate(
        [json.loads(file.read_text())["states"] for file in folder.glob("annotation/*/*.json")]
    )
    low, high = np.percentile(states, [1, 99], axis=0)
    (folder / "stat.json").write_text(
        json.dumps({"state_01": low.tolist(), "state_99": high.tolist()})
    )
    return folder


def _episode(folder: Path, split: str, number: int, vae: Path | None) -> None:
    rng = np.random.default_rng(number)
    good = number % 3 != 0
    goal = np.array([0.55, 0.1, 0.2]) if good else np.array([0.4, -0.3, 0.4])
    start = np.array([0.4, 0.0, 0.4]) + rng.normal(0, 0.03, 3)
    raw = np.linspace(0, 1, RATE * LENGTH)[:, None]
    place = start + raw * (goal - start)
    roll = np.pi - 0.2 + 0.4 * raw + rng.normal(0, 0.02)  # passes pi
    angles = np.concatenate([roll, 0.1 + 0.1 * raw, -0.2 * raw], 1)
    angles = (angles + np.pi) % (2 * np.pi) - np.pi
    hand = (raw > 0.8).astype(float)
    pose = np.concatenate([place, angles, hand], 1)
    states = pose[::RATE]
    note = {
        "texts": ["put the cup on the plate" if number % 2 else "move the cup"],
        "episode_id": number,
        "success": int(good),
        "video_length": LENGTH,
        "videos": [{"video_path": f"videos/{split}/{number}/{k}.mp4"} for k in range(3)],
        "states": states.tolist(),
        "action.cartesian_position": [*pose[1:, :6].tolist(), pose[-1, :6].tolist()],
        "action.gripper_position": pose[:, 6].tolist(),
    }
    if vae is not None:
        note["latent_videos"] = [
            {"latent_video_path": f"latent_videos/{split}/{number}/{k}.pt"} for k in range(3)
        ]
        (folder / "latent_videos" / split / str(number)).mkdir(parents=True)
    (folder / "videos" / split / str(number)).mkdir(parents=True)
    (folder / "annotation" / split).mkdir(parents=True, exist_ok=True)
    (folder / "annotation" / split / f"{number}.json").write_text(json.dumps(note))
    for view in range(3):
        video = folder / f"videos/{split}/{number}/{view}.mp4"
        with VideoWriter(video, fps=5, size=SIZE) as out:
            out.append(_seen(states, view))
        if vae is not None:
            frames = read_frames(video, np.arange(LENGTH))
            torch.save(_encoded(vae, frames), folder / f"latent_videos/{split}/{number}/{view}.pt")


def _seen(states: np.ndarray, view: int) -> np.ndarray:
    """A bright square where the hand is, seen along another axis by every view."""
    frames = np.full((len(states), *SIZE, 3), 60 + 30 * view, np.uint8)
    for frame, pose in zip(frames, states, strict=True):
        x, y = np.delete(pose[:3], view)
        row = int(np.clip(20 + 60 * x - 20, 4, SIZE[0] - 5))
        column = int(np.clip(56 + 60 * y, 4, SIZE[1] - 5))
        frame[row - 4 : row + 4, column - 4 : column + 4] = (230, 40 + 150 * pose[6], 40)
    return frames


def _encoded(vae: Path, frames: np.ndarray) -> torch.Tensor:
    from worldeval.world.tokenizer.pretrained import DiffusersTokenizer

    tokenizer = DiffusersTokenizer(vae, size=SIZE)
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    none = torch.zeros(len(frames), dtype=torch.long)
    return tokenizer.encode(images, none, none).half()
