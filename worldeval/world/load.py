"""Save and load a trained world model: `world.json`, `tokenizer.safetensors`,
`dynamics.safetensors`.

The card names the family (families.py), the dataset it was trained on and its recipe; weights.py
describes how weights are stored.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from worldeval.checked_weights import described, fill, misfit
from worldeval.config import build, build_known
from worldeval.device import compiles, made_fast, pick_device
from worldeval.errors import UserError
from worldeval.files import read_object, write_json
from worldeval.world.families import FAMILIES, family
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.tokenizer.build import new_tokenizer
from worldeval.world.tokenizer.encode import digest_of_weights
from worldeval.world.training.prepare import TOKENIZER
from worldeval.world.weights import load_weights, save_weights
from worldeval.world.world import World

CARD, DYNAMICS = "world.json", "dynamics.safetensors"


@dataclass(frozen=True, kw_only=True)
class _Head:
    """The required content of a card, without its notes."""

    kind: str
    spec: Mapping[str, Any]
    recipe: Mapping[str, Any]


def save_world(
    folder: Path, world: World, recipe: WorldRecipe, *, kind: str, notes: dict[str, Any]
) -> None:
    """Write a world model that `load_world` reads; `notes` are stored in its card."""
    folder.mkdir(parents=True, exist_ok=True)
    if world.tokenizer is not None:
        save_weights(folder / TOKENIZER, world.tokenizer.state_dict(), compress=False)
    save_weights(folder / DYNAMICS, world.networks_state(), compress=family(kind).compress)
    card = {"kind": kind, "spec": asdict(world.spec), "recipe": asdict(recipe), **notes}
    write_json(folder / CARD, card)


def load_world(folder: Path, *, device: str = "auto") -> World:
    """Load the world model in `folder`, ready to imagine; on a GPU if there is one.

    Its inputs and outputs are NumPy arrays, so policies and judges may run on other devices.
    """
    card = read_card(folder)
    with described(folder / CARD):
        world = new_world(card["kind"], card["spec"], card["recipe"])
    if (folder / TOKENIZER).is_file():
        assert world.tokenizer is not None
        fill(world.tokenizer, load_weights(folder / TOKENIZER), folder / TOKENIZER)
    else:
        world.tokenizer = None
    try:
        world.load_networks(load_weights(folder / DYNAMICS))
    except RuntimeError as error:
        raise misfit(folder / DYNAMICS, error) from error
    where = pick_device(device)
    world.eval().to(where)
    made_fast(world, where)
    if compiles():
        world.compile_networks()
    return world


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card of a saved world, with `spec` and `recipe` as typed records."""
    if not (folder / CARD).is_file():
        raise UserError(
            f"{folder} contains no world model (no {CARD}). Train one with `worldeval train`."
        )
    card = read_object(folder / CARD)
    if card.get("kind") not in list(FAMILIES):  # whatever kind of value it is
        known = list(FAMILIES)
        raise UserError(f"{folder / CARD}: kind '{card.get('kind')}' is not one of {known}.")
    where = str(folder / CARD)
    head = build_known(_Head, card, where=where)
    spec = build(WorldSpec, head.spec, where=where)
    return {
        **card,
        "spec": spec,
        "recipe": build(family(head.kind).recipe, head.recipe, where=where),
    }


def new_world(kind: str, spec: WorldSpec, recipe: WorldRecipe) -> World:
    """Build a world model with fresh weights, including its tokenizer."""
    world = family(kind).new(spec, recipe)
    if world.tokenizer is None:
        world.tokenizer = new_tokenizer(
            recipe.tokenizer, tasks=len(spec.tasks), views=len(spec.views), size=spec.size
        )
    return world


def world_hash(folder: Path) -> str:
    """Return a short fingerprint of a saved world model, for provenance."""
    digest = hashlib.sha256()
    for name in (CARD, TOKENIZER, DYNAMICS):
        if (folder / name).is_file():
            digest.update((folder / name).read_bytes())
    return digest.hexdigest()[:12]


def tokenizer_hash(folder: Path) -> str:
    """Return a short fingerprint of a saved world's tokenizer weights; "" if it has none."""
    if not (folder / TOKENIZER).is_file():
        return ""
    return digest_of_weights(load_weights(folder / TOKENIZER))[:12]
