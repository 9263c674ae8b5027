"""A trained world model as a folder: `world.json`, `tokenizer.safetensors`, `dynamics.safetensors`.

Weights are stored in half precision; with `compress`, large matrices take one byte a number (one
scale a row), so that a model small enough for a laptop is small enough for a repository.
"""

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldeval.config import build
from worldeval.errors import UserError
from worldeval.run import read_json, whole_file, write_json
from worldeval.world.actuation import Actuation
from worldeval.world.features import Features
from worldeval.world.kinematics import Kinematics
from worldeval.world.latent import LatentDynamics
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import DitRecipe, LatentRecipe, WorldRecipe
from worldeval.world.tokenizer import Tokenizer
from worldeval.world.world import World

KINDS: dict[str, type[WorldRecipe]] = {"latent": LatentRecipe, "dit": DitRecipe}
CARD, TOKENIZER, DYNAMICS = "world.json", "tokenizer.safetensors", "dynamics.safetensors"
BYTES_FROM = 65536  # matrices with fewer numbers stay in half precision


def save_world(
    folder: Path, world: World, recipe: WorldRecipe, *, kind: str, notes: dict[str, Any]
) -> None:
    """Write a world model that `load_world` reads; `notes` are kept in its card."""
    folder.mkdir(parents=True, exist_ok=True)
    if world.tokenizer is not None:
        save_weights(folder / TOKENIZER, world.tokenizer.state_dict(), compress=False)
    state = join_states(kinematics=world.kinematics, dynamics=world.dynamics)
    save_weights(folder / DYNAMICS, state, compress=True)
    card = {"kind": kind, "spec": asdict(world.spec), "recipe": asdict(recipe), **notes}
    write_json(folder / CARD, card)


def load_world(folder: Path) -> World:
    """The world model in `folder`, ready to imagine on the CPU."""
    card = read_card(folder)
    spec, recipe = card["spec"], card["recipe"]
    world = new_world(card["kind"], spec, recipe)
    if (folder / TOKENIZER).is_file():
        fill(world.tokenizer, load_weights(folder / TOKENIZER), folder / TOKENIZER)
    else:
        world.tokenizer = None
    state = load_weights(folder / DYNAMICS)
    for name, part in (("kinematics", world.kinematics), ("dynamics", world.dynamics)):
        own = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
        fill(part, own, folder / DYNAMICS)
        part.eval()
    return world


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a saved world, its `spec` and `recipe` as typed records."""
    if not (folder / CARD).is_file():
        raise UserError(f"{folder} holds no world model (no {CARD}). Train one: worldeval train.")
    card = read_json(folder / CARD)
    if card.get("kind") not in KINDS:
        raise UserError(f"{folder / CARD}: kind '{card.get('kind')}' is not one of {list(KINDS)}.")
    where = str(folder / CARD)
    card["spec"] = build(WorldSpec, card["spec"], where=where)
    card["recipe"] = build(KINDS[card["kind"]], card["recipe"], where=where)
    return card


def new_world(kind: str, spec: WorldSpec, recipe: WorldRecipe) -> World:
    """A world model with fresh weights."""
    torch_views = len(spec.views)
    latent = (torch_views, *spec.latent)
    sizes = {
        "pose_dim": spec.pose_dim,
        "action_dim": spec.action_dim,
        "tasks": len(spec.tasks),
    }
    kinematics = Kinematics(
        recipe.kinematics, Features(**sizes), latent_size=int(torch.tensor(latent).prod())
    )
    features = Features(**sizes)
    if isinstance(recipe, LatentRecipe):
        dynamics: nn.Module = LatentDynamics(recipe, features, latent=latent)
    else:
        from worldeval.world.dit import DitDynamics

        assert isinstance(recipe, DitRecipe)
        dynamics = DitDynamics(recipe, features, latent=latent)
    return World(
        spec,
        tokenizer=Tokenizer(
            recipe.tokenizer, tasks=len(spec.tasks), views=torch_views, size=spec.size
        ),
        kinematics=kinematics,
        dynamics=dynamics,
        actuation=Actuation(recipe.actuation),
    )


def world_hash(folder: Path) -> str:
    """A short fingerprint of a saved world model, for provenance."""
    digest = hashlib.sha256()
    for name in (CARD, TOKENIZER, DYNAMICS):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def join_states(**parts: nn.Module) -> dict[str, Tensor]:
    """The weights of several modules under their names."""
    return {
        f"{name}.{key}": value
        for name, part in parts.items()
        for key, value in part.state_dict().items()
    }


def fill(module: nn.Module | None, state: dict[str, Tensor], where: Path) -> None:
    """Load weights strictly, naming the file in the error."""
    assert module is not None
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{where} does not fit its card: {error}") from error


def save_weights(path: Path, state: dict[str, Tensor], *, compress: bool) -> None:
    """Half precision, or one byte a number for large matrices."""
    out: dict[str, Tensor] = {}
    for key, value in state.items():
        value = value.detach().cpu()
        if compress and value.ndim == 2 and value.numel() >= BYTES_FROM:
            scale = value.abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
            out[key] = (value / scale).round().to(torch.int8)
            out[f"{key}.scale"] = scale.float()
        else:
            out[key] = value.half() if value.is_floating_point() and value.ndim > 1 else value
    with whole_file(path) as draft:
        save_file({key: value.contiguous() for key, value in out.items()}, draft)


def load_weights(path: Path) -> dict[str, Tensor]:
    """What `save_weights` wrote, in float32."""
    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    stored = load_file(path)
    out = {}
    for key, value in stored.items():
        if f"{key}.scale" in stored:
            out[key] = value.float() * stored[f"{key}.scale"]
        elif not (key.endswith(".scale") and key.removesuffix(".scale") in stored):
            out[key] = value.float() if value.is_floating_point() else value
    return out
