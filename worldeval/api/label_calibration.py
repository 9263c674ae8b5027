"""Correct a judge of frames, and rates, with a few labels of imagined episodes."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from worldeval.api.load import Address
from worldeval.evaluate.label_calibration import LabelCalibration
from worldeval.evaluate.label_calibration import calibrate_with_labels as fit
from worldeval.files import write_json


def calibrate_with_labels(
    runs: Sequence[Address], labels: Address, out: Address
) -> LabelCalibration:
    """Fit a correction of a judge's probabilities to labels, and write it.

    Use it as `calibration=` in the judge's address: `vlm:URL?model=NAME&calibration=FILE`.

    Args:
        runs: folders of ranking runs with this judge.
        labels: `people` for labels given in the viewer, or a CSV with policy, task, start, success.
        out: JSON file for the correction; not written for a learned judge (see `calibrate_judge`).

    Returns:
        The correction, its effect on policies left out of it, and every labelled policy's rate.

    Raises:
        UserError: fewer than 10 labels, one outcome only, or labels of other episodes.

    >>> import worldeval as we
    >>> we.calibrate_with_labels(["runs/vlm"], "people", "vlm.json")  # doctest: +SKIP
    """
    found = fit([Path(run) for run in runs], str(labels))
    if found.correction is not None:
        write_json(Path(out), asdict(found.correction))
    return found
