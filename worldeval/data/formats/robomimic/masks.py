# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Splits of a robomimic file, as its filter keys `mask/train` and `mask/valid` list them."""

from collections.abc import Sequence
from pathlib import Path

import h5py

from worldeval.data.finding import DataFinding
from worldeval.data.formats import hdf5

UNLISTED = "unlisted"  # in neither list; not trained on, as with robomimic's filter key 'train'


def read_masks(
    file: h5py.File, demos: Sequence[str], path: Path
) -> tuple[dict[str, str], list[DataFinding]]:
    """Return each demonstration's split, and a finding if some are in neither list.

    Without `mask/train`, every demonstration that is not in `mask/valid` is for training. One that
    is in both is held out.
    """
    trained, held = (_listed(file, name, path) for name in ("train", "valid"))
    splits = {}
    for name in demos:
        known = trained is None or name in trained
        splits[name] = "val" if name in (held or ()) else "train" if known else UNLISTED
    unlisted = [name for name, split in splits.items() if split == UNLISTED]
    if not unlisted:
        return splits, []
    text = (
        f"{len(unlisted)} of {len(splits)} demonstrations, such as {unlisted[0]}, are neither in "
        "mask/train nor in mask/valid, so they are not used for training. To use them, add them to "
        "mask/train."
    )
    return splits, [
        DataFinding(code="split-unlisted", severity="note", episode=None, field="mask", text=text)
    ]


def _listed(file: h5py.File, name: str, path: Path) -> set[str] | None:
    """Return the names under a filter key; None if the file has no such key."""
    mask = file.get("mask")
    if not isinstance(mask, h5py.Group) or name not in mask:
        return None
    return {hdf5.text(one) for one in hdf5.dataset(mask, name, path)[()]}
