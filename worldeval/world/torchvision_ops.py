"""Make torchvision importable next to a torch build that its binary does not match.

diffusers and lpips import torchvision. If its binary does not load (for example, a CPU build of
torch with the common torchvision wheel), the import fails with `operator torchvision::nms does not
exist`, although neither package ever calls that operator. Registering its schema is enough.
"""

import importlib
import importlib.util
import sys

import torch

_library: torch.library.Library | None = None  # a schema lives as long as its library


def need_torchvision() -> None:
    """Make `import torchvision` work if possible; do nothing if it is not installed."""
    global _library
    if importlib.util.find_spec("torchvision") is None:
        return
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::nms" not in str(error) or _library is not None:
            raise
        for name in [each for each in sys.modules if each.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):  # those whose shapes torchvision registers on import
            _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        importlib.import_module("torchvision")
