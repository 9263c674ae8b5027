"""What the files and folders of a run are called."""

from dataclasses import dataclass
from pathlib import Path

from worldeval.errors import UserError

SUMMARY = "summary.json"
FACTS = "run.json"
RECIPE = "recipe.yaml"
MANIFEST = "manifest.json"
SECONDS = "seconds.json"
LABELS = "labels.jsonl"
ERRORS = "errors.jsonl"  # a line for every batch that could not be done
STARTS = "starts.h5"
IMAGINED, TRUTH = "imagined", "truth"  # folders of episodes, and the two sides of a table
OUTCOMES = {IMAGINED: "outcomes/imagined.csv", TRUTH: "outcomes/truth.csv"}
FILMS = "filmstrips"
FILM_INDEX = "index.json"  # in FILMS
REPORT = "report"
# What is inside a run and no run, dataset or world model of its own.
FOLDERS = frozenset({IMAGINED, TRUTH, "outcomes", FILMS, REPORT})


@dataclass(frozen=True)
class RunPaths:
    """The paths of one run folder. A path is given whether or not anything is there yet."""

    folder: Path

    @property
    def summary(self) -> Path:
        """Everything that the ranking found."""
        return self.folder / SUMMARY

    @property
    def facts(self) -> Path:
        """What was run, with which seed, versions and commit."""
        return self.folder / FACTS

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / RECIPE

    @property
    def manifest(self) -> Path:
        """Fingerprints of what outcomes depend on."""
        return self.folder / MANIFEST

    @property
    def seconds(self) -> Path:
        """Time spent, by stage."""
        return self.folder / SECONDS

    @property
    def labels(self) -> Path:
        """What people say of episodes."""
        return self.folder / LABELS

    @property
    def errors(self) -> Path:
        """Why batches could not be done."""
        return self.folder / ERRORS

    @property
    def starts(self) -> Path:
        """The moments from which every policy is tried."""
        return self.folder / STARTS

    @property
    def imagined(self) -> Path:
        """Folder of the imagined episodes."""
        return self.folder / IMAGINED

    @property
    def truth(self) -> Path:
        """Folder of the outcomes in the simulator, block by block."""
        return self.folder / TRUTH

    @property
    def films(self) -> Path:
        """Folder of the film strips."""
        return self.folder / FILMS

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.folder / REPORT

    def outcomes(self, side: str) -> Path:
        """The table of a side, `imagined` or `truth`."""
        return self.folder / OUTCOMES[side]


def inside(folder: Path, name: str) -> Path:
    """The file `name` of `folder`.

    Raises:
        UserError: it leads out of the folder, by `..`, as an absolute path or through a link.
    """
    path = folder / name
    try:
        within = bool(name) and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, a circle of links
        within = False
    if not within:
        raise UserError(f"'{name}' leads out of {folder}, and is not read.")
    return path
