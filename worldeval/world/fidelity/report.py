"""Measure the fidelity of one world on one dataset, as one record."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.world.fidelity.actions import changed, fit_probe, followed, other_actions
from worldeval.world.fidelity.held_out import Held, OpenLoop, by_turns, imagine_held, open_shelf
from worldeval.world.fidelity.mean import mean_of
from worldeval.world.fidelity.memory import memory_of, returning
from worldeval.world.fidelity.objects import ObjectStates, fit_state_probe, probed
from worldeval.world.fidelity.part_errors import part_errors
from worldeval.world.fidelity.pictures import SHORTEST_FILM, compare, fvd, measures
from worldeval.world.fidelity.space import meaning_of
from worldeval.world.load import load_world, read_card, world_hash
from worldeval.world.protocol import WorldSpec

HORIZONS = (1, 5, 10, 20)
LONGEST = 30  # frames within which an episode may return to an earlier position
PROBED = 3  # episodes for training the probe, per measured episode


def measure(
    folder: Path,
    data: Path | Weighted,
    *,
    horizons: Sequence[int] = HORIZONS,
    episodes: int = 60,
    backbone: Path | None = None,
    sampler_steps: int | None = None,
    objects: ObjectStates | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure the fidelity of the world in `folder` on episodes of `data` held out of its training.

    Measures that are unavailable here are None, with the reason under 'not_measured'.

    Raises:
        UserError: horizons below 1, or `sampler_steps` that the world's sampler does not take.
    """
    if not horizons or min(horizons) < 1:
        raise UserError(f"Horizons must be at least 1 frame, not {list(horizons)}.")
    card, world = read_card(folder), load_world(folder)
    if sampler_steps is not None:
        world.steps = sampler_steps
    recipe, missing = card["recipe"], {}
    longest = max(*horizons, LONGEST)
    say("reading and encoding held-out episodes")
    shelf = open_shelf(world, data, share=recipe.held_out, seed=int(card.get("seed", seed)))
    chosen = by_turns(shelf.held, shelf.tasks, episodes)
    held = shelf.read(chosen, max(horizons) + 1)
    say("imagining them open loop")
    imagined = imagine_held(world, held, steps=max(horizons))
    result: dict[str, Any] = {
        "world": str(folder),
        "hash": world_hash(folder),
        "family": card["kind"],
        "sampler_steps": world.steps or None,  # None: the family has no sampler
        "data": str(data),
        "episodes": len(held),
        "horizons": list(horizons),
        "latents": latent_errors(world.spec, held, imagined, horizons),
        "pictures": None,
        "fvd": None,
        "action_following": None,
        "memory": None,
        "objects": None,
    }
    if held.frames is None:
        missing["pictures"] = missing["fvd"] = "this world has no decoder; it predicts latents"
    else:
        say("comparing images")
        taken, missing_measures = measures()
        missing |= missing_measures
        result["pictures"] = compare(world, held, imagined, horizons, taken)
        if backbone is None:
            missing["fvd"] = "no backbone was given (--fvd-backbone: I3D as TorchScript)"
        elif max(horizons) + 1 < SHORTEST_FILM:
            missing["fvd"] = f"clips of {max(horizons) + 1} frames are too short"
        else:
            result["fvd"] = fvd(world, held, imagined, backbone)
    say("measuring whether actions are followed")
    spec = world.spec
    meaning = meaning_of(spec, shelf.space, recipe.actuation)
    given = other_actions(held, meaning, rng=np.random.default_rng(seed))
    if "zeroed" not in given:
        missing["zeroed actions"] = meaning.said_by
    if "mirrored" not in given:
        missing["mirrored actions"] = (
            meaning.said_by
            if meaning.held is None
            else "no column of the action is known to move the robot's position"
        )
    following: dict[str, Any] = {
        "taken_as": meaning,
        "actions": changed(world, held, given, horizons=horizons),
    }
    if spec.place:
        learnt = by_turns(shelf.training, shelf.tasks, PROBED * episodes)
        probe = fit_probe(shelf.read(learnt, max(horizons) + 1), place=spec.place, seed=seed)
        key = "inverse_dynamics_mm" if spec.metres else "inverse_dynamics"
        following |= {
            key: followed(probe, held, imagined, metres=spec.metres),
            "unit": spec.place_unit,
        }
    else:
        missing["inverse_dynamics"] = "the recordings have no pose"
    result["action_following"] = following
    if objects is None:
        missing["objects"] = "no simulator was named that tells their state (--probe ADDRESS)"
    else:
        learnt, frames = by_turns(shelf.training, shelf.tasks, PROBED * episodes), max(horizons) + 1
        states = objects.read(shelf.source, learnt, frames)
        told = objects.read(shelf.source, chosen, frames)
        say("training the probe of objects")
        reader = fit_state_probe(shelf.read(learnt, frames), states, seed=seed)
        result["objects"] = probed(reader, held, told, imagined, objects.columns, horizons=horizons)
    say("measuring returns to an earlier position")
    try:
        if not spec.place:
            raise UserError("the recordings have no pose")
        back = returning(shelf, spec, steps=longest, count=episodes)
        if len(back) < 2:
            raise UserError(
                f"{len(back)} held-out episodes return to an earlier position; 2 are needed"
            )
        result["memory"] = memory_of(world, shelf.read(back, longest + 1), steps=longest)
    except UserError as reason:
        missing["memory"] = str(reason)
    result["not_measured"] = missing
    return plain(result)


def latent_errors(
    spec: WorldSpec, held: Held, imagined: OpenLoop, horizons: Sequence[int]
) -> dict[str, dict[str, Any]]:
    """'h<horizon>' -> latent MSE, that of repeating the first frame, position error.

    Under `parts` are the errors of each part of the robot in its own unit, where they are known.
    """
    out = {}
    for horizon in horizons:
        rows = held.there(horizon)
        if not rows.any():
            continue
        truth = held.latents[rows, horizon]
        predicted, recorded = imagined.pose[rows, horizon], held.pose[rows, horizon]
        place, away = spec.place_error(predicted - recorded)
        error = np.square(imagined.latents[rows, horizon] - truth).mean((1, 2, 3, 4))
        copied = np.square(held.latents[rows, 0] - truth).mean((1, 2, 3, 4))
        out[f"h{horizon}"] = {
            "latent_mse": mean_of(error),
            "copied_latent_mse": mean_of(copied),
            place: mean_of(away),
        }
        parts = part_errors(spec, predicted, recorded)
        if parts:
            out[f"h{horizon}"]["parts"] = {
                name: {"unit": unit, "error": mean_of(each)} for name, (unit, each) in parts.items()
            }
    return out


def plain(value: Any) -> Any:
    """Convert records to plain data."""
    if hasattr(value, "__dataclass_fields__"):
        return plain(asdict(value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return value
