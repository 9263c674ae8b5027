"""Load known weights into the network: Stable Video Diffusion's, or the official checkpoint's."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from worldeval.axes import Float
from worldeval.checked_weights import load_checked, save_checked
from worldeval.errors import UserError
from worldeval.files import read_json
from worldeval.world.ctrl_world.network import CtrlWorldNetwork
from worldeval.world.diffusers_import import read_model

# In the official state dict, but frozen and not part of the network: SVD's image encoder (replaced
# by poses), its VAE (a tokenizer here), and CLIP's text encoder (evaluated once).
FROZEN = ("vae.", "image_encoder.", "text_encoder.")
SHOWN = 8  # keys named in an error


def load_checkpoint(network: CtrlWorldNetwork, path: Path) -> None:
    """Load an official `state_dict` file (.pt or .safetensors) into the network, strictly.

    Raises UserError naming the first keys that do not match, and how many more there are;
    `misfits` lists all.
    """
    load_state(network, read_state(path), where=path)


def load_state(network: CtrlWorldNetwork, state: Mapping[str, Tensor], *, where: Path) -> None:
    """Apply `load_checkpoint` to a state dict that is already in memory."""
    own = {key: value for key, value in state.items() if not key.startswith(FROZEN)}
    _fill(network, own, where)


def load_svd(network: CtrlWorldNetwork, folder: Path) -> None:
    """Load the UNet from Stable Video Diffusion in diffusers' layout; pose tokens stay fresh."""
    home = folder / "unet" if (folder / "unet").is_dir() else folder
    if not (home / "config.json").is_file():
        raise UserError(
            f"{folder} is not Stable Video Diffusion in diffusers' layout (no unet/config.json). "
            "Name the folder that holds model_index.json."
        )
    found = read_model("UNetSpatioTemporalConditionModel", home)
    heads = found.config["num_attention_heads"]
    heads = [heads] * len(network.recipe.heads) if isinstance(heads, int) else list(heads)
    if heads != list(network.recipe.heads):  # the same shapes, but a different network
        raise UserError(
            f"{home} has {heads} heads, but the recipe has {list(network.recipe.heads)}."
        )
    _fill(network.unet, found.state_dict(), home)


def save_checkpoint(network: CtrlWorldNetwork, path: Path) -> None:
    """Write the network as safetensors under the official keys, in half precision."""
    state = {key: value.detach().cpu() for key, value in network.state_dict().items()}
    save_checked(path, {key: value.half() for key, value in state.items()})


def load_pose_stats(path: Path) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Read the 1st and 99th percentiles of a robot's poses from Ctrl-World's `stat.json`."""
    stats = read_json(path)
    try:
        return torch.tensor(stats["state_01"]).float(), torch.tensor(stats["state_99"]).float()
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} needs the lists state_01 and state_99 ({error}).") from error


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint file; pickles that hold anything else are refused."""
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.")
    if path.suffix == ".safetensors":
        return load_checked(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises many types of errors for damaged files
        raise UserError(f"{path} is not a plain file of tensors ({error}).") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{path} is not a state dict of tensors.")
    return state


def misfits(module: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """List every key that is missing, superfluous or of another shape, in words."""
    wanted = module.state_dict()
    found = [f"{key} is missing" for key in wanted if key not in state]
    for key, value in state.items():
        if key not in wanted:
            found.append(f"{key} is not part of the network")
        elif value.shape != wanted[key].shape:
            need, have = tuple(wanted[key].shape), tuple(value.shape)
            found.append(f"{key} is {have}, expected {need}")
    return found


def _fill(module: nn.Module, state: Mapping[str, Tensor], where: Path) -> None:
    wrong = misfits(module, state)
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise UserError(
            f"{where} does not match this recipe's network: {'; '.join(wrong[:SHOWN])}{more}. "
            "Check that unet, the views' latents and the pose are those it was trained with."
        )
    on_meta = next(module.parameters()).is_meta
    module.load_state_dict(dict(state), assign=on_meta)
