"""Safety checks of a Zarr store: links, claimed sizes and codecs."""

import math
import re
import zipfile
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from worldeval.data.files import LOOSE, bounded, leads_out
from worldeval.data.finding import DataError

# Codec -> the package that provides it. imagecodecs calls its own 'imagecodecs_jpegxl' and so on.
PACKAGES = {
    "zfpy": "numcodecs[zfpy]",
    "pcodec": "numcodecs[pcodec]",
    "crc32c": "numcodecs[crc32c]",
    "msgpack2": "numcodecs[msgpack]",
    "wavpack": "wavpack-numcodecs",
    "jpeg": "imagecodecs",
    "imagecodecs": "imagecodecs",
}
# The wording of numcodecs and of the zarr versions.
UNKNOWN = re.compile(
    r"(?:codec not available|unknown codec|unknown compressor)[^\w]*([\w.\-]+)", re.IGNORECASE
)


def refuse_links(path: Path) -> None:
    """Refuse a store whose links lead outside its folder."""
    for file in path.rglob("*"):
        if file.is_symlink() and leads_out(path, file):
            raise DataError(
                file, "link", "it points outside the dataset folder. Copy the file into the folder."
            )


def refuse_bombs(path: Path) -> None:
    """Refuse a zipped store that claims to unpack to more than a zip of its size can hold."""
    try:
        with zipfile.ZipFile(path) as kept:
            claimed = sum(entry.file_size for entry in kept.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(path, "store", f"it is not a readable zip file ({error}).") from error
    bounded(claimed, path.stat().st_size, path, "store", expansion=LOOSE)


def bounded_array(kept: Any, path: Path, name: str) -> None:
    """Refuse an array that claims more than its files can hold, in total or in one chunk."""
    stored = _stored(path, name, *_state(path))
    size = kept.dtype.itemsize
    bounded(math.prod(kept.shape) * size, stored, path, name, expansion=LOOSE)
    bounded(math.prod(kept.chunks) * size, stored, path, f"{name}.chunks", expansion=LOOSE)


def know_more_codecs() -> None:
    """Register the codecs of imagecodecs, if it is installed; UMI datasets use them."""
    if find_spec("imagecodecs") is not None:
        import_module("imagecodecs.numcodecs").register_codecs(verbose=False)


def missing_codec(error: Exception) -> str:
    """Say which package provides the codec of an error; "" if the error is about something else."""
    found = UNKNOWN.search(str(error))
    if found is None:
        return ""
    codec = found[1]
    package = PACKAGES.get(codec, PACKAGES.get(codec.split("_")[0]))
    if package is None:
        return (
            f"The arrays are compressed with the codec '{codec}', which numcodecs does not support."
        )
    return f"The arrays are compressed with the codec '{codec}': pip install '{package}'."


@lru_cache(maxsize=256)
def _stored(path: Path, name: str, *_identity: int) -> int:
    """Return the compressed size of an array's files in bytes."""
    if path.is_dir():
        return sum(file.stat().st_size for file in (path / name).rglob("*") if file.is_file())
    with zipfile.ZipFile(path) as kept:
        return sum(e.compress_size for e in kept.infolist() if e.filename.startswith(f"{name}/"))


def _state(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_size
