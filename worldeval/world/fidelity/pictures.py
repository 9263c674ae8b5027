"""Compare imagined with recorded frames: PSNR, SSIM and LPIPS by horizon and view.

Next to each are the result of repeating the first frame and the tokenizer's ceiling (the true
latents decoded). FVD compares whole clips and needs a backbone network from the user.
"""

import importlib.util
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Float, UInt8
from worldeval.errors import UserError
from worldeval.world.fidelity.held_out import BATCH, Held, OpenLoop
from worldeval.world.fidelity.mean import Mean, mean_of
from worldeval.world.torchvision_ops import need_torchvision
from worldeval.world.world import World

Measure = Callable[[UInt8[Array, "n h w 3"], UInt8[Array, "n h w 3"]], Float[Array, " n"]]
ALEXNET = "alexnet-owt-7be5be79.pth"  # torchvision's file, the backbone of LPIPS
SHORTEST_FILM = 10  # frames; the usual backbones pool over time and need about this many


def measures() -> tuple[dict[str, Measure], dict[str, str]]:
    """Return the available measures, and the reasons why others are unavailable."""
    if importlib.util.find_spec("torchmetrics") is None:
        raise UserError("PSNR and SSIM need torchmetrics: pip install 'worldeval[fidelity]'.")
    found: dict[str, Measure] = {"psnr": psnr, "ssim": ssim}
    missing = {}
    weights = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    if importlib.util.find_spec("lpips") is None:
        missing["lpips"] = "lpips is not installed: pip install 'worldeval[fidelity]'"
    elif not weights.is_file():
        missing["lpips"] = f"AlexNet's weights are missing: put torchvision's file at {weights}"
    else:
        found["lpips"] = _lpips()
    return found, missing


def psnr(frames: UInt8[Array, "n h w 3"], truth: UInt8[Array, "n h w 3"]) -> Float[Array, " n"]:
    """PSNR of every frame in dB, at most 80, which is an error of a fortieth of a grey level."""
    metrics = _metrics()
    each = [
        metrics.peak_signal_noise_ratio(one[None], other[None], data_range=1.0)
        for one, other in zip(_unit(frames), _unit(truth), strict=True)
    ]
    return torch.stack(each).clamp(max=80.0).numpy()


def ssim(frames: UInt8[Array, "n h w 3"], truth: UInt8[Array, "n h w 3"]) -> Float[Array, " n"]:
    """Structural similarity (Wang et al., 2004) of every frame: Gaussian window, sigma 1.5."""
    found = _metrics().structural_similarity_index_measure(
        _unit(frames), _unit(truth), data_range=1.0, reduction="none"
    )
    assert isinstance(found, Tensor)
    return found.numpy().reshape(len(frames))


def compare(
    world: World,
    held: Held,
    imagined: OpenLoop,
    horizons: Sequence[int],
    taken: Mapping[str, Measure],
) -> dict[str, dict[str, dict[str, Mean | None]]]:
    """Return view -> 'h<horizon>' -> measure -> mean; 'copied_' repeats the first frame, 'ceiling_'
    decodes the true latents."""
    assert held.frames is not None
    out: dict[str, dict[str, dict[str, Mean | None]]] = {view: {} for view in world.spec.views}
    for horizon in horizons:
        rows = np.flatnonzero(held.there(horizon))
        if not len(rows):
            continue
        tasks = [held.tasks[row] for row in rows]
        drawn = draw(world, imagined.latents[rows, horizon], tasks)
        ceiling = draw(world, held.latents[rows, horizon], tasks)
        for view in world.spec.views:
            truth, first = held.frames[view][rows, horizon], held.frames[view][rows, 0]
            row = out[view][f"h{horizon}"] = {}
            for name, measure in taken.items():
                row[name] = mean_of(measure(drawn[view], truth))
                row[f"copied_{name}"] = mean_of(measure(first, truth))
                row[f"ceiling_{name}"] = mean_of(measure(ceiling[view], truth))
    return out


def draw(
    world: World, latents: Float[Array, "n v d h w"], tasks: Sequence[str]
) -> dict[str, UInt8[Array, "n y x 3"]]:
    """Call `world.render` in batches, so that large frames fit into memory."""
    parts = [
        world.render(latents[begin : begin + BATCH], tasks[begin : begin + BATCH])
        for begin in range(0, len(latents), BATCH)
    ]
    return {view: np.concatenate([part[view] for part in parts]) for view in world.spec.views}


def fvd(world: World, held: Held, imagined: OpenLoop, backbone: Path) -> dict[str, float]:
    """Return view -> Fréchet distance of recorded and imagined clips (Unterthiner et al., 2019).

    `backbone` is a TorchScript file that takes clips (b 3 t h w, 0-255) and the keywords `rescale`,
    `resize` and `return_features`, like the usual I3D export.
    """
    assert held.frames is not None
    frames = imagined.latents.shape[1]
    rows = np.flatnonzero(held.there(frames - 1))
    if len(rows) < 2 or frames < SHORTEST_FILM:
        raise UserError(
            f"FVD needs at least 2 clips of at least {SHORTEST_FILM} frames; {len(rows)} held-out "
            f"episodes have the requested {frames}. Set a longer horizon, or more --episodes."
        )
    network = torch.jit.load(str(backbone)).eval()
    true: dict[str, list[Array]] = {view: [] for view in world.spec.views}
    made: dict[str, list[Array]] = {view: [] for view in world.spec.views}
    for row in rows:
        drawn = draw(world, imagined.latents[row], [held.tasks[row]] * frames)
        for view in world.spec.views:
            true[view].append(_features(network, held.frames[view][row, :frames]))
            made[view].append(_features(network, drawn[view]))
    return {view: frechet(np.stack(true[view]), np.stack(made[view])) for view in true}


def frechet(first: Float[Array, "n f"], second: Float[Array, "m f"]) -> float:
    """The Fréchet distance of two Gaussians with these samples' means and covariances.

    |mean a - mean b|^2 + tr(A + B - 2 (AB)^(1/2)) (Dowson & Landau, 1982). With fewer clips than
    features the covariances are singular; their root is computed from eigenvalues, which exist.
    """
    a, b = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (first, second))
    shift = np.square(first.mean(0) - second.mean(0)).sum()
    value, vector = np.linalg.eigh(a)
    root = (vector * np.sqrt(value.clip(0))) @ vector.T
    # tr (AB)^(1/2) is that of (A^(1/2) B A^(1/2))^(1/2), which is symmetric.
    shared = np.sqrt(np.linalg.eigvalsh(root @ b @ root).clip(0)).sum()
    return float(shift + np.trace(a + b) - 2 * shared)


@torch.inference_mode()
def _features(network: Any, film: UInt8[Array, "t h w 3"]) -> Float[Array, " f"]:
    given = torch.from_numpy(np.ascontiguousarray(film)).permute(3, 0, 1, 2)[None].float()
    found = network(given, rescale=True, resize=True, return_features=True)
    return found[0].double().numpy()


def _metrics() -> Any:
    """Import torchmetrics' image measures; it imports torchvision, which may not load here."""
    need_torchvision()
    return import_module("torchmetrics.functional.image")


def _lpips() -> Measure:
    need_torchvision()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchvision's warnings about how lpips loads weights
        network = lpips.LPIPS(net="alex", verbose=False).eval()

    @torch.inference_mode()
    def measure(
        frames: UInt8[Array, "n h w 3"], truth: UInt8[Array, "n h w 3"]
    ) -> Float[Array, " n"]:
        return network(_unit(frames), _unit(truth), normalize=True).flatten().numpy()

    return measure


def _unit(frames: UInt8[Array, "n h w 3"]) -> Float[Tensor, "n 3 h w"]:
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2).float() / 255
