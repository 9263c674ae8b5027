"""Pretrained autoencoders as tokenizers: SVD's VAE, `AutoencoderKL`, `AutoencoderTiny`.

The weights stay in their folder: a world stores the folder's path and a fingerprint of the weights.
Latents are scaled as the autoencoder's configuration says (SVD's times 0.18215, as in Ctrl-World's
latent files) and have about unit variance, so every family can train on them.
"""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldeval.axes import Float, Int
from worldeval.errors import UserError
from worldeval.files import read_object
from worldeval.world.diffusers_import import read_model
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer

KINDS = ("AutoencoderKL", "AutoencoderTiny", "AutoencoderKLTemporalDecoder")
AT_ONCE = 16  # frames per pass of the autoencoder: its activations are large


class DiffusersTokenizer(FrameTokenizer):
    """A frozen diffusers autoencoder with this project's tokenizer interface; ignores task, view.

    SVD's decoder smooths a video over time; here frames of many episodes form a batch, so each is
    decoded on its own.
    """

    fingerprint: Tensor

    def __init__(self, folder: Path, *, size: tuple[int, int]) -> None:
        super().__init__()
        self.folder = _home(folder)
        self.kind, config = _described(self.folder)
        self.vae = read_model(self.kind, self.folder)
        self.vae.eval().requires_grad_(False)
        self.grid = _grid(config, size, self.folder)
        self.scale = float(config.get("scaling_factor") or 1.0)
        self.shift = float(config.get("shift_factor") or 0.0)
        self.register_buffer("fingerprint", _fingerprint(self.vae))

    @torch.no_grad()
    def encode(
        self, frames: Float[Tensor, "n 3 h w"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n d y x"]:
        """Encode frames (0-1) to the most likely latents; nothing is sampled."""
        parts = []
        for part in frames.split(AT_ONCE):
            found = self.vae.encode(2 * part - 1)
            own = found.latents if self.kind == "AutoencoderTiny" else found.latent_dist.mode()
            parts.append((own.float() - self.shift) * self.scale)
        return torch.cat(parts)

    @torch.no_grad()
    def decode(
        self, latents: Float[Tensor, "n d y x"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Decode latents to frames (0-1, not clipped)."""
        alone = {"num_frames": 1} if self.kind == "AutoencoderKLTemporalDecoder" else {}
        parts = [
            self.vae.decode(part / self.scale + self.shift, **alone).sample.float()
            for part in latents.split(AT_ONCE)
        ]
        return (torch.cat(parts) + 1) / 2

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
        """Return only the fingerprint: the weights stay in their folder."""
        whole = super().state_dict(*args, **kwargs)
        return {key: value for key, value in whole.items() if not _frozen(key)}

    def load_state_dict(self, state: Any, *args: Any, **kwargs: Any) -> Any:
        """Check that the folder still holds the autoencoder that made the latents."""
        if not torch.equal(state["fingerprint"].cpu(), self.fingerprint.cpu()):
            raise UserError(
                f"{self.folder} is not the autoencoder that the world was trained with, so its "
                "latents would mean something else. Restore the original one."
            )


def _home(folder: Path) -> Path:
    """Find the autoencoder's own folder: a complete pipeline keeps it in `vae`."""
    for home in (folder / "vae", folder):
        if (home / "config.json").is_file():
            return home
    raise UserError(
        f"{folder} contains no autoencoder (no config.json, no vae/config.json). Set "
        "tokenizer.folder to a local folder in diffusers' layout."
    )


def _described(home: Path) -> tuple[str, dict[str, Any]]:
    config = read_object(home / "config.json")
    kind = str(config.get("_class_name"))
    if kind not in KINDS:
        raise UserError(f"{home} holds a {kind}; a tokenizer must be one of {', '.join(KINDS)}.")
    return kind, config


def _grid(config: dict[str, Any], size: tuple[int, int], home: Path) -> tuple[int, int, int]:
    """Channels, height and width of a frame's latent. Every level but the last halves a side."""
    widths = config.get("block_out_channels") or config.get("encoder_block_out_channels") or [0]
    fold = 2 ** (len(widths) - 1)
    if any(side % fold for side in size):
        raise UserError(
            f"{home} makes one latent cell per {fold} x {fold} pixels, which does not divide "
            f"frames of {size[0]} x {size[1]}. Use another autoencoder, or set another frame size."
        )
    return int(config["latent_channels"]), size[0] // fold, size[1] // fold


def _fingerprint(vae: torch.nn.Module) -> Int[Tensor, " 1"]:
    digest = hashlib.sha256()
    for key, value in sorted(vae.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().float().numpy().tobytes())
    return torch.tensor([int.from_bytes(digest.digest()[:7], "big")])


def _frozen(key: str) -> bool:
    return ".vae." in f".{key}"
