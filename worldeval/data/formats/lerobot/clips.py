"""Video files of a LeRobot dataset: which ones exist, and which episodes they contain."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from worldeval.data.files import inside
from worldeval.data.finding import DataFinding
from worldeval.data.formats.lerobot.features import ChosenFeatures, lacking
from worldeval.data.formats.lerobot.index import Entry


class VideoFiles:
    """Locations of the video files, cached because resolving links takes longer than reading."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._there: dict[str, bool] = {}
        self._found: dict[str, Path] = {}

    def find(self, entry: Entry, key: str) -> Path:
        """Return the file of one view of an episode, which must be inside the dataset."""
        name = entry.clips[key].file
        if name not in self._found:
            found = inside(self.root, name, owner=entry.listed_in, field=f"videos/{key}")
            self._found[name] = found
        return self._found[name]

    def exists(self, name: str) -> bool:
        """Whether a file of this name exists."""
        if name not in self._there:
            try:
                self._there[name] = (self.root / name).exists()
            except (OSError, ValueError):  # not a file name: reported when it is read
                self._there[name] = True
        return self._there[name]

    def without_missing(
        self, chosen: ChosenFeatures, entries: Sequence[Entry]
    ) -> tuple[ChosenFeatures, list[DataFinding]]:
        """Return the views with a video of any episode, and a finding for each of the others."""
        missing = [
            view
            for view, key in chosen.views.items()
            if chosen.video[view] and entries
            and not any(self.exists(entry.clips[key].file) for entry in entries)
        ]  # fmt: skip
        left, findings = len(chosen.views) - len(missing), []
        for view in missing:
            file = entries[0].clips[chosen.views[view]].file
            findings.append(
                DataFinding(
                    code="view-missing",
                    severity="warning" if left else "error",
                    episode=None,
                    field=view,
                    text="is listed in meta/info.json, but no episode has its video (such as "
                    f"{file}). "
                    + (
                        "The view is excluded." if left else "No view is left; download the videos."
                    ),
                )
            )
            chosen = lacking(chosen, view)
        return chosen, findings


def shared_frames(ids: Sequence[str], entries: Sequence[Entry], fps: float) -> list[DataFinding]:
    """Report each episode that begins within the rows of another one in the same file."""
    spans: dict[str, list[tuple[float, float, str]]] = {}
    for name, entry in zip(ids, entries, strict=True):
        for clip in entry.clips.values():
            end = clip.begin + (entry.length - 0.5) / fps
            spans.setdefault(clip.file, []).append((clip.begin, end, name))
    return [
        DataFinding(
            code="frames-shared",
            severity="error",
            episode=other,
            field=file,
            text=f"begins at {after:.4g} s, within episode {one} ({begin:.4g} to {end:.4g} s), so "
            "both contain the same frames. Correct from_timestamp in meta/episodes, or reconvert.",
        )
        for file, listed in spans.items()
        for (begin, end, one), (after, _, other) in pairwise(sorted(listed))
        if after < end
    ]
