"""Families of world models, and how one is added: a folder, a recipe and a line here.

A family is a `Family` record named `FAMILY` in a module of its own, imported when its kind is first
asked for. Nothing in load.py, pipeline.py or prepare.py knows any family. To add `mine`:

1. `worldeval/world/mine/recipe.py`: a frozen dataclass `MineRecipe(WorldRecipe)` (no torch there),
   and its line in `worldeval/recipe.py: KINDS`.
2. `worldeval/world/mine/world.py`: `class MineWorld(World)`. Its networks are submodules of it:
   these are stored, loaded, averaged over folds and moved between devices. It says how a
   state begins at latents (`begin_latents`), how it goes on (`step`), and what the newest `latents`
   and `pose` of a state are. The state is its own affair. `World` brings `begin`, `encode`,
   `render`, `to`; hand.py brings kinematics and commands to families that do not predict poses.
   A family that needs no tokenizer sets it to None; `render` is then its own.
3. `worldeval/world/mine/family.py`: `FAMILY = Family(...)` with

   - `new(spec, recipe)`: a world with fresh weights. Its tokenizer may be left None: whoever builds
     it sets the trained one.
   - `fit(fitting)`: gives `fitting.world` back with trained networks in place of its own. With
     `fitting.fresh` it takes statistics of its data first; without, the world carries the weights
     of the base model, and statistics stay as they are. `fitting.hand()` trains kinematics where
     the world has them and gives the training windows.
   - `adapt(recipe)`: the shorter, gentler recipe with which folds go on from the base. The default
     shortens `trainer` and `kinematics.trainer`.
4. A line in `FAMILIES` below, a recipe in `models/`, tests in `tests/world/mine/`.

Training runs base -> one model a fold of weak roll-outs -> the mean of the folds' weights; buffers
that count rather than weigh (integers) are the first fold's.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from worldeval.axes import Array, Int
from worldeval.checked_weights import load_checked, save_checked
from worldeval.errors import UserError, did_you_mean
from worldeval.training.optimise import Report
from worldeval.training.processes import this_process
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.hand.fit import fit_features, fit_kinematics
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.training.prepare import Prepared
from worldeval.world.training.windows import Windows
from worldeval.world.weights import fill
from worldeval.world.world import World

# What an unfinished training leaves in its folder: its whole state, and the hand trained before it.
TRAINING, HAND = "training.pt", "hand.safetensors"

# kind in a recipe and in a stored card -> the module and name of its `Family`
FAMILIES = {
    "latent": "worldeval.world.latent.family:FAMILY",
    "dit": "worldeval.world.dit.family:FAMILY",
    "ctrl_world": "worldeval.world.ctrl_world.family:FAMILY",
    "rssm": "worldeval.world.rssm.family:FAMILY",
    "uwm": "worldeval.world.uwm.family:FAMILY",
}


@dataclass(frozen=True, kw_only=True)
class TrainedHand:
    """Kinematics, and windows whose memory is found in its units of the pose."""

    kinematics: Kinematics
    windows: Windows


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """One training: a world whose networks are to be trained, and on what."""

    world: Any  # the family's own World
    recipe: Any  # the family's own WorldRecipe
    prepared: Prepared
    episodes: Int[Array, " e"]  # indices into `prepared.episodes` to fit to
    seed: int
    report: Report  # report(stage, steps) -> progress(step, loss)
    stage: str  # 'base' or 'fold 0', to stand before what is reported
    fresh: bool  # no weights from an earlier stage: take the statistics of the data
    folder: Path  # where the result will be stored; checkpoints may lie in it

    @property
    def checkpoint(self) -> Path:
        """Where the state of the training of the dynamics is kept until that is done."""
        return self.folder / TRAINING

    def windows(self) -> Windows:
        """Windows over the encoded episodes, commands included."""
        return Windows(self.prepared.episodes, self.world.actuation)

    def hand(self) -> TrainedHand:
        """The world's kinematics, trained, and the windows that the dynamics is to be trained on.

        It is kept at once: a training that was interrupted after it goes on with the same hand.
        """
        kinematics, path = deepcopy(self.world.kinematics), self.folder / HAND
        windows = self.windows()
        if path.is_file():
            fill(kinematics, load_checked(path), path)
        else:
            kinematics = self._trained(kinematics, windows)
            if this_process().is_main_process:
                save_checked(path, kinematics.state_dict())
        return TrainedHand(
            kinematics=kinematics, windows=windows.in_units(kinematics.features.pose_std)
        )

    def _trained(self, kinematics: Kinematics, windows: Windows) -> Kinematics:
        recipe = self.recipe
        if self.fresh:
            fit_features(kinematics.features, windows, self.episodes)
        return fit_kinematics(
            kinematics,
            recipe.kinematics,
            windows.in_units(kinematics.features.pose_std),
            self.episodes,
            latent_noise=recipe.latent_noise,
            seed=self.seed,
            progress=self.report(f"{self.stage}: kinematics", recipe.kinematics.trainer.steps),
        ).model


def gentler(recipe: Any) -> Any:
    """The recipe with which training goes on: shorter, and at a lower rate."""
    hands = recipe.kinematics
    return replace(
        recipe,
        trainer=_shorter(recipe.trainer, recipe),
        kinematics=replace(hands, trainer=_shorter(hands.trainer, recipe)),
    )


def _shorter(trainer: TrainerRecipe, recipe: WorldRecipe) -> TrainerRecipe:
    return replace(
        trainer,
        steps=round(recipe.adapt_share * trainer.steps),
        learning_rate=recipe.adapt_learning_rate * trainer.learning_rate,
    )


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of world models: its recipe, how a world of it is made, and how it is trained."""

    recipe: type[WorldRecipe]
    new: Callable[[WorldSpec, Any], World]
    fit: Callable[[Fitting], World]
    adapt: Callable[[Any], Any] = gentler
    compress: bool = True  # large matrices in one byte a number; False: half precision throughout


def family(kind: str) -> Family:
    """The family of a kind. Raises UserError for an unknown one."""
    if kind not in FAMILIES:
        raise UserError(f"There is no family '{kind}'.{did_you_mean(kind, FAMILIES)}")
    module, name = FAMILIES[kind].split(":")
    return getattr(import_module(module), name)
