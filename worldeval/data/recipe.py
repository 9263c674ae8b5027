"""Dataset recipe for data on disk: location, views and held-out episodes."""

from dataclasses import dataclass, field
from pathlib import Path

from worldeval.axes import Array, Bool
from worldeval.data.adapt import AdaptedSource
from worldeval.data.data_map import DataMap
from worldeval.data.rotation import RotationForm
from worldeval.data.source import READERS, Source, open_source
from worldeval.data.split import held_out
from worldeval.errors import did_you_mean


@dataclass(frozen=True, kw_only=True)
class RecordedRecipe:
    """Recorded trajectories in any supported format."""

    path: Path
    format: str | None = None  # None: detected from the folder
    source: DataMap = field(default_factory=DataMap)  # facts missing from the files; data_map.py
    views: tuple[str, ...] = ()  # empty: all of them
    size: tuple[int, int] | None = None  # height, width to resize every view to
    rotation: RotationForm | None = None  # to convert roll, pitch, yaw to; 6d has no jumps
    held_out: tuple[str, ...] = ()  # ids of episodes kept from training
    held_out_share: float = 0.1  # of all episodes, without ids and without a split in the data

    def __post_init__(self) -> None:
        if not 0 <= self.held_out_share < 1:
            raise ValueError(f"held_out_share {self.held_out_share} must be at least 0 and below 1")
        if self.format is not None and ":" in self.format:
            raise ValueError(
                f"format '{self.format}' is code, which a recipe may not name, because recipes are "
                "shared. Give it with --format instead"
            )
        if self.format is not None and self.format not in READERS:
            raise ValueError(
                f"format '{self.format}' is unknown.{did_you_mean(self.format, READERS)}"
            )

    def build(self) -> Source:
        """Open the data, refusing unknown views."""
        source = open_source(self.path, self.format, given=self.source)
        source.choose(self.views)
        if self.size is None and self.rotation is None:
            return source
        return AdaptedSource(source, size=self.size, rotation=self.rotation)

    def chosen(self, source: Source) -> tuple[str, ...]:
        """Return the views that are used, in order."""
        return source.choose(self.views or None)

    def held(self, source: Source, *, seed: int) -> Bool[Array, " e"]:
        """Return a boolean per episode, true if it is held out."""
        return held_out(source, share=self.held_out_share, ids=self.held_out, seed=seed)
