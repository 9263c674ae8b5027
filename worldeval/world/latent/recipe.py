"""The recipe of `latent`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from worldeval.config import at_least
from worldeval.world.recipe import CameraRecipe, WorldRecipe

DRAWN = 16  # maps that the spatial network draws into every view from motion and pose


@dataclass(frozen=True, kw_only=True)
class LatentRecipe(WorldRecipe):
    """`latent`: deterministic dynamics of all views' latents, fast on a laptop."""

    # A residual MLP over all latents at once, or convolutions over the grid (spatial.py).
    network: Literal["mlp", "spatial"] = "mlp"
    width: int = 512  # hidden units; of the spatial network, channels of a cell
    depth: int = 5  # residual blocks
    unroll: tuple[tuple[float, int], ...] = ((0.0, 1), (0.35, 2), (0.6, 4))  # share -> steps
    # Weight in the loss of cells that the robot's pose does not explain, such as objects, relative
    # to 1 for the average cell (own_cells.py); 0: all cells count alike.
    own: float = 0.0
    # task -> view -> camera, for the spatial network; other views get no map of the grippers
    cameras: Mapping[str, Mapping[str, CameraRecipe]] = field(default_factory=dict)
    save_every: int = 0  # steps between saves of the training state; 0: never

    def __post_init__(self) -> None:
        at_least(1, self, "width", "unroll")
        at_least(0, self, "depth")
        at_least(0, self, "own", "save_every")
        if self.cameras and self.network != "spatial":
            raise ValueError("cameras: only the spatial network reads them; set network: spatial.")
