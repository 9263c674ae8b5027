"""The families of world models. A new one needs a folder, a recipe and one line here.

A family is a `Family` record named `FAMILY` in its own module, imported when its kind is first
requested. Nothing in load.py, pipeline.py or prepare.py refers to a particular family. To add
`mine`:

1. `worldeval/world/mine/recipe.py`: a frozen dataclass `MineRecipe(WorldRecipe)` that does not
   import torch, and its line in `worldeval/recipe.py: KINDS`. Its property `unused` lists the
   shared keys that it does not use, which recipes may then not set.
2. `worldeval/world/mine/world.py`: `class MineWorld(World)`. Its networks are its submodules, which
   are stored, loaded, averaged over folds and moved between devices. It defines how a state begins
   from latents (`begin_latents`), how it advances (`step`), and the newest `latents` and `pose` of
   a state. The type of the state is up to the family. `World` provides `begin`, `encode`, `render`;
   hand/ provides kinematics and commands for families that do not predict poses. A family without
   a tokenizer sets it to None and implements `render` itself.
3. `worldeval/world/mine/family.py`: `FAMILY = Family(...)` with

   - `new(spec, recipe)`: a world with fresh weights. Its tokenizer may be None; the caller sets the
     trained one.
   - `fit(fitting)`: returns `fitting.world` with trained networks. If `fitting.fresh`, it first
     computes the statistics of its data; otherwise the world already has the weights of the base
     model, and the statistics stay unchanged. `fitting.hand()` trains the kinematics if the world
     has them, and returns the training windows as well.
   - `adapt(recipe)`: the shorter recipe with a lower learning rate that continues the base model
     for each fold. The default shortens `trainer` and `kinematics.trainer`.
4. A line in `FAMILIES` below, a recipe in `models/`, tests in `tests/world/mine/`.

Training runs base -> one model per fold of weak roll-outs -> the mean of the folds' weights.
Integer buffers are counts, so they are taken from the first fold.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from worldeval.axes import Array, Int
from worldeval.checked_weights import fill, load_checked, save_checked
from worldeval.errors import UserError, did_you_mean
from worldeval.training.optimise import Report
from worldeval.training.processes import this_process
from worldeval.training.recipe import TrainerRecipe
from worldeval.world.hand.fit import fit_features, fit_kinematics
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ADAPT_LEARNING_RATE, WorldRecipe
from worldeval.world.training.prepare import Prepared
from worldeval.world.training.windows import Windows
from worldeval.world.world import World

# Files of an unfinished training: its complete state, and the kinematics trained before it.
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
    """Trained kinematics, and windows whose memory is retrieved in their units of the pose."""

    kinematics: Kinematics
    windows: Windows


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """One training run: the world whose networks are trained, and the data to train them on."""

    world: Any  # the family's own World
    recipe: Any  # the family's own WorldRecipe
    prepared: Prepared
    episodes: Int[Array, " e"]  # indices into `prepared.episodes` to fit to
    seed: int
    report: Report  # report(stage, steps) -> progress(step, loss)
    stage: str  # 'base' or 'fold 0'; the prefix of progress reports
    fresh: bool  # no weights from an earlier stage: compute the statistics of the data
    folder: Path  # where the result is stored; may hold checkpoints

    @property
    def checkpoint(self) -> Path:
        """Path of the dynamics' training state, kept until the training is complete."""
        return self.folder / TRAINING

    def windows(self) -> Windows:
        """Windows over the encoded episodes, with commands."""
        return Windows(self.prepared.episodes, self.world.actuation)

    def hand(self) -> TrainedHand:
        """Train a copy of the world's kinematics; returns it and the windows for the dynamics.

        The kinematics are saved at once, so that a training interrupted later resumes with them.
        """
        kinematics, path = deepcopy(self.world.kinematics), self.folder / HAND
        windows = self.windows()
        if path.is_file():
            fill(kinematics, load_checked(path), path)
        else:
            kinematics = self._trained(kinematics, windows)
            if this_process().is_main_process:
                save_checked(path, kinematics.state_dict())
        return TrainedHand(kinematics=kinematics, windows=windows.in_units(kinematics.pose_std))

    def _trained(self, kinematics: Kinematics, windows: Windows) -> Kinematics:
        recipe = self.recipe
        windows = windows.turned(kinematics.turned_pose, kinematics.turned_action)
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
    """Shorten the recipe and lower its learning rate, to continue training a model."""
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
        learning_rate=ADAPT_LEARNING_RATE * trainer.learning_rate,
    )


@dataclass(frozen=True, kw_only=True)
class Family:
    """A family of world models: its recipe, how its worlds are built, and how they are trained."""

    recipe: type[WorldRecipe]
    new: Callable[[WorldSpec, Any], World]
    fit: Callable[[Fitting], World]
    adapt: Callable[[Any], Any] = gentler
    compress: bool = True  # store large matrices in one byte per number; False: half precision


def family(kind: str) -> Family:
    """Return the family of a kind. Raises UserError if the kind is unknown."""
    if kind not in FAMILIES:
        raise UserError(f"There is no world model family '{kind}'.{did_you_mean(kind, FAMILIES)}")
    module, name = FAMILIES[kind].split(":")
    return getattr(import_module(module), name)
