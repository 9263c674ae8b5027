"""Find the checkpoints that a training run has written so far, and notice new ones."""

from collections.abc import Mapping
from glob import escape, has_magic
from pathlib import Path

from worldeval.errors import UserError
from worldeval.policy.address import read_address
from worldeval.policy.lerobot_checkpoints import CONFIG, MODEL
from worldeval.policy.load import CARD, expand

Files = Mapping[str, tuple[int, int]]  # path -> size in bytes, time of the last change in ns


def checkpoints_in(source: str) -> list[str]:
    """List the addresses of all checkpoints that a training folder holds now.

    Args:
        source: a folder in or below which worldeval (`policy.json`) or LeRobot
            (`checkpoints/010000/pretrained_model`) writes checkpoints, or an address with a glob.
            It may hold none yet.

    Raises:
        UserError: a folder does not exist, or the address is not one of files.
    """
    address = read_address(source)
    place = address.place.removeprefix("lerobot:")
    if address.kind not in ("checkpoint", "lerobot"):
        raise UserError(
            f"{source} is not a training folder. Give the folder that training writes checkpoints "
            "to, or a glob of checkpoints."
        )
    folder = Path(place)
    if not has_magic(place) or folder.is_dir():
        if not folder.is_dir():
            raise UserError(f"There is no training folder {folder}. Check the path.")
        found = []
        if address.kind == "checkpoint" and next(folder.rglob(CARD), None) is not None:
            found += expand([source])
        if next(folder.rglob(f"{MODEL}/{CONFIG}"), None) is not None:
            found += expand([f"lerobot:{escape(place)}/**/{MODEL}"])
        return found
    try:
        return expand([source])
    except UserError:  # a glob that matches nothing yet
        return []


def files_of(ref: str) -> Files:
    """List the files of a checkpoint with their sizes and times, to see whether it is written."""
    folder = Path(read_address(ref).place.removeprefix("lerobot:"))
    stats = {str(path): path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: (each.st_size, each.st_mtime_ns) for path, each in stats.items()}


class Arrivals:
    """The checkpoints of a training folder, in the order in which they are finished.

    A checkpoint counts as finished when its files are the same at two looks in a row.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.unfinished = False  # at the last look, some were still being written
        self._before: dict[str, Files] = {}

    def look(self) -> list[str]:
        """List the finished checkpoints that are there now, by training run and step."""
        now = {ref: files_of(ref) for ref in checkpoints_in(self._source)}
        finished = [ref for ref, files in now.items() if files == self._before.get(ref)]
        self._before = now
        self.unfinished = len(finished) < len(now)
        return finished
