"""Fingerprints of a dataset's content: equal for equal episodes, in any format."""

import hashlib
from collections.abc import Sequence

import numpy as np

from worldeval.data.source import Source

SAMPLE = 32  # number of episodes that are sampled


def fingerprint(source: Source, views: Sequence[str], *, latents: bool = False) -> str:
    """Compute a digest of every episode's name and length, and of some frames.

    The first and the middle frame of up to 32 episodes, spread evenly, are read; with `latents`
    their precomputed latents instead. Data that were cropped, scaled, re-ordered or recorded anew
    have another digest; a change of other frames alone is not seen.
    """
    digest = hashlib.sha256(repr(list(views)).encode())
    for head in source.heads:
        digest.update(f"{head.id}\0{head.length}\0".encode())
    every = range(len(source))
    for index in sorted({every[int(place)] for place in np.linspace(0, len(every) - 1, SAMPLE)}):
        middle = np.unique([0, source.heads[index].length // 2])
        own = source.latents(index) if latents else {}
        for view in views:
            found = own[view] if latents else source.frames(index, view, middle)
            digest.update(f"{found.shape}".encode() + np.ascontiguousarray(found).tobytes())
    return digest.hexdigest()
