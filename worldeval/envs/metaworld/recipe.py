"""The recipe of a collected dataset: tasks, image size, and a mixture of drivers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from worldeval.config import at_least
from worldeval.envs.metaworld.drivers import DriverRecipe


@dataclass(frozen=True, kw_only=True)
class CollectRecipe:
    """What to collect in Meta-World, and how many episodes of it."""

    tasks: tuple[str, ...]
    drivers: tuple[DriverRecipe, ...]
    episodes: int = 450  # per task
    size: int = 64  # pixels, height and width of a view
    k: int = 5  # simulator steps per world frame
    horizon: int = 30  # world frames
    after_success: int = 8  # world frames for which an episode continues after success
    first_seed: int = 0  # of the simulator's resets; evaluation starts use other seeds
    shard: int = 50  # episodes per file

    def __post_init__(self) -> None:
        at_least(1, self, "tasks", "episodes", "size", "k", "horizon", "shard")
        at_least(0, self, "after_success", "first_seed")
        total = sum(driver.share for driver in self.drivers)
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the drivers' shares sum to {total:g}; they must sum to 1")

    def collect(
        self, out: Path, *, seed: int, jobs: int, progress: Callable[[int, int], None]
    ) -> None:
        """Collect what is missing in `out`, in `jobs` processes."""
        from worldeval.envs.metaworld.collect import collect

        collect(self, out, seed=seed, jobs=jobs, progress=progress)
