"""Names and paths of the files and folders of a run."""

import re
from dataclasses import dataclass
from pathlib import Path

from worldeval.errors import UserError

SUMMARY = "summary.json"
FACTS = "run.json"
RECIPE = "recipe.yaml"
MANIFEST = "manifest.json"
SECONDS = "seconds.json"
LABELS = "labels.jsonl"
LABEL_QUEUE = "label_queue.json"
INTERFACE_CHECKS = "interface_checks.json"
GATES = "gates.json"
WATCHED = "watch.json"
ERRORS = "errors.jsonl"  # one line per failed batch
STARTS = "starts.h5"
IMAGINED, TRUTH = "imagined", "truth"  # folders of episodes, and the two sides of a table
OUTCOMES = {IMAGINED: "outcomes/imagined.csv", TRUTH: "outcomes/truth.csv"}
FILMS = "filmstrips"
FILM_INDEX = "index.json"  # in FILMS
REPORT = "report"
EXPLAIN = "explain"
ANSWERS = "answers"  # of judges of frames
# Folders inside a run that are not themselves a run, dataset or world model.
FOLDERS = frozenset({IMAGINED, TRUTH, "outcomes", FILMS, REPORT, EXPLAIN, ANSWERS})


@dataclass(frozen=True)
class RunPaths:
    """Paths of one run folder, whether or not they exist yet."""

    folder: Path

    @property
    def summary(self) -> Path:
        """All results of the ranking."""
        return self.folder / SUMMARY

    @property
    def facts(self) -> Path:
        """Seed, versions and commit of the run."""
        return self.folder / FACTS

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.folder / RECIPE

    @property
    def manifest(self) -> Path:
        """Fingerprints of everything that outcomes depend on."""
        return self.folder / MANIFEST

    @property
    def seconds(self) -> Path:
        """Time spent, by stage."""
        return self.folder / SECONDS

    @property
    def interface_checks(self) -> Path:
        """What was found of the policies' interfaces."""
        return self.folder / INTERFACE_CHECKS

    @property
    def gates(self) -> Path:
        """What replaying recordings gave."""
        return self.folder / GATES

    @property
    def watched(self) -> Path:
        """Verdicts on the checkpoints of a training run, in the order in which they appeared."""
        return self.folder / WATCHED

    @property
    def labels(self) -> Path:
        """Labels that people gave to episodes."""
        return self.folder / LABELS

    @property
    def label_queue(self) -> Path:
        """Episodes in the order in which people are asked for labels that matter."""
        return self.folder / LABEL_QUEUE

    @property
    def errors(self) -> Path:
        """Reasons why batches failed."""
        return self.folder / ERRORS

    @property
    def starts(self) -> Path:
        """Starts from which every policy is run."""
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

    @property
    def explanations(self) -> Path:
        """Folder of what was found between pairs of policies."""
        return self.folder / EXPLAIN

    @property
    def answers(self) -> Path:
        """Folder of the answers of judges of frames, by the content of what was judged."""
        return self.folder / ANSWERS

    def outcomes(self, side: str) -> Path:
        """Return the path of a side's table, `imagined` or `truth`."""
        return self.folder / OUTCOMES[side]


def plain_name(text: str) -> str:
    """Return a name for a file or folder: letters, digits, dots, dashes and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "-"


def inside(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in `folder`.

    Raises:
        UserError: it leads out of the folder by `..`, as an absolute path, or through a link.
    """
    path = folder / name
    try:
        within = bool(name) and path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long, contains NUL, or circular links
        within = False
    if not within:
        raise UserError(f"'{name}' points outside {folder}, so it is not read.")
    return path
