"""Checks of what this machine can run, each with advice if something is missing."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from worldeval import recipe as recipes
from worldeval.errors import UserError
from worldeval.runs.origin import version

RENDER = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    '<mujoco><worldbody><light pos="0 0 3"/><geom size=".3" rgba="1 .2 .2 1"/></worldbody></mujoco>'
)
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 16, 16)
renderer.update_scene(data)
raise SystemExit(0 if renderer.render().std() > 1 else 'the image is blank')
"""
LPIPS = "import lpips; lpips.LPIPS(net='alex', pnet_rand=True, verbose=False)"
DEBIAN_RENDERING = "apt-get install libosmesa6 libegl1 libegl-mesa0 libgl1-mesa-dri"


@dataclass(frozen=True, kw_only=True)
class SystemCheck:
    """The result of one check."""

    name: str
    ok: bool
    found: str  # a version, a list, or what went wrong
    todo: str = ""  # what to do if it is not ok
    required: bool = True  # for the main job; the rest only widens what works


@dataclass(frozen=True, kw_only=True)
class MachineReport:
    """What this machine can run."""

    checks: list[SystemCheck]

    @property
    def ok(self) -> bool:
        """Whether every required check passed."""
        return all(check.ok for check in self.checks if check.required)


def check_machine() -> MachineReport:
    """Check what this machine can run, and what to install for the rest.

    Rendering and other packages that may crash are tried in separate processes, which takes some
    seconds.

    >>> from worldeval.api.doctor import check_machine
    >>> check_machine().ok  # doctest: +SKIP
    True
    """
    return MachineReport(checks=list(checks()))


def checks() -> Iterator[SystemCheck]:
    """Run every check; the slow ones (rendering, lpips) come last."""
    yield _python()
    yield from _packages()
    yield _device()
    yield _recipes()
    yield _weights()
    yield _video()
    yield _in_subprocess("decord", "import decord", "optional video decoder beside PyAV")
    yield _rendering()
    yield _lpips()


def _python() -> SystemCheck:
    ok = sys.version_info >= (3, 11)
    found = ".".join(str(part) for part in sys.version_info[:3])
    return SystemCheck(
        name="python", ok=ok, found=found, todo="worldeval needs Python 3.11 or newer"
    )


def _packages() -> Iterator[SystemCheck]:
    """Check the declared dependencies; those of an extra share a line."""
    extras: dict[str, list[str]] = {}
    for line in metadata.requires("worldeval") or ():
        name = re.match(r"[\w.-]+", line)
        extra = re.search(r"extra == '([\w-]+)'", line)
        if name is None or (extra is not None and extra[1] == "all"):  # the other extras again
            continue
        if extra is None:
            found = version(name[0])
            todo = "pip install worldeval"
            yield SystemCheck(name=name[0], ok=bool(found), found=found or "missing", todo=todo)
        else:
            extras.setdefault(extra[1], []).append(name[0])
    for extra_name, names in extras.items():
        found_versions = {name: version(name) for name in names}
        yield SystemCheck(
            name=f"extra {extra_name}",
            ok=all(found_versions.values()),
            found=", ".join(
                f"{name} {found or 'missing'}" for name, found in found_versions.items()
            ),
            todo=f"pip install 'worldeval[{extra_name}]'",
            required=False,
        )


def _device() -> SystemCheck:
    if version("torch") is None:
        return SystemCheck(name="device", ok=False, found="no torch", todo="pip install worldeval")
    import torch

    from worldeval.device import cpu_has_bf16, pick_device

    device = pick_device()
    if device.type == "cuda":
        found = f"{torch.cuda.get_device_name()}, {torch.cuda.device_count()} CUDA devices"
    else:
        precision = "bfloat16" if cpu_has_bf16() else "float32"
        found = f"CPU, {torch.get_num_threads()} of {os.cpu_count()} threads, {precision}"
    return SystemCheck(name="device", ok=True, found=found)


def _recipes() -> SystemCheck:
    try:
        counts = {group: len(recipes.available(group)) for group in recipes.FOLDERS}
    except UserError as error:
        return SystemCheck(name="recipes", ok=False, found=str(error), todo="correct this file")
    found = ", ".join(f"{count} {group}" for group, count in counts.items())
    todo = f"reinstall worldeval: {recipes.RECIPES} lacks the recipes that it ships"
    return SystemCheck(name="recipes", ok=all(counts.values()), found=found, todo=todo)


def _weights() -> SystemCheck:
    files = sorted((recipes.RECIPES / "models").rglob("*.safetensors"))
    size = sum(file.stat().st_size for file in files) / 2**20
    return SystemCheck(
        name="weights",
        ok=bool(files),
        found=f"{len(files)} files, {size:.1f} MiB" if files else "none shipped",
        todo="make demo-full trains them",
        required=False,
    )


def _video() -> SystemCheck:
    """Check that PyAV writes and reads H.264, which exports and reports need."""
    if version("av") is None or version("numpy") is None:
        return SystemCheck(name="video", ok=False, found="no PyAV", todo="pip install worldeval")
    import io

    import av
    import numpy as np
    from av.error import FFmpegError

    buffer = io.BytesIO()
    try:
        with av.open(buffer, "w", format="mp4") as file:
            stream = file.add_stream("libx264", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
            picture = np.zeros((64, 64, 3), np.uint8)
            for _ in range(3):
                file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            file.mux(stream.encode())
        buffer.seek(0)
        with av.open(buffer, "r") as written:
            frames = sum(1 for _ in written.decode(video=0))
    except (FFmpegError, ValueError) as error:  # ValueError: this build has no such codec
        return SystemCheck(
            name="video", ok=False, found=str(error), todo="pip install --upgrade av"
        )
    found = f"H.264 by PyAV, FFmpeg {av.ffmpeg_version_info}"
    return SystemCheck(name="video", ok=frames == 3, found=found, todo="pip install --upgrade av")


def _rendering() -> SystemCheck:
    """Find the headless backends of MuJoCo that work, each in a separate process."""
    name, optional = "rendering", {"required": False}
    if version("mujoco") is None:
        found, todo = "no mujoco", "pip install 'worldeval[sim]'"
        return SystemCheck(name=name, ok=False, found=found, todo=todo, **optional)
    drawing = [backend for backend in ("osmesa", "egl") if _run(RENDER, MUJOCO_GL=backend) is None]
    chosen = os.environ.get("MUJOCO_GL", "osmesa")
    found = " and ".join(drawing) + " draw" if drawing else "neither OSMesa nor EGL can render"
    todo = f"as root: {DEBIAN_RENDERING}"
    if drawing and chosen not in drawing:
        found, todo = f"{found}, MUJOCO_GL is {chosen}", f"export MUJOCO_GL={drawing[0]}"
    return SystemCheck(name=name, ok=chosen in drawing, found=found, todo=todo, **optional)


def _lpips() -> SystemCheck:
    """Check LPIPS, which needs a working torchvision and AlexNet's ImageNet weights."""
    todo = "pip install 'worldeval[fidelity]'"
    if version("lpips"):  # the usual trouble: torchvision built for another torch
        todo = f"install the torchvision made for torch {version('torch')}"
    check = _in_subprocess("lpips", LPIPS, f"{todo}; PSNR and SSIM work without it")
    if not check.ok:
        return check
    import torch

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    ok = any(folder.glob("alexnet-owt-*.pth"))
    found = check.found if ok else f"{check.found}, but no AlexNet weights in {folder}"
    todo = f"put alexnet-owt-7be5be79.pth into {folder}; PSNR and SSIM work without it"
    return SystemCheck(name="lpips", ok=ok, found=found, todo=todo, required=False)


def _in_subprocess(package: str, code: str, todo: str) -> SystemCheck:
    """Check an optional package in a separate process, because a broken binary may crash it."""
    found = version(package)
    problem = _run(code) if found else "missing"
    return SystemCheck(
        name=package, ok=problem is None, found=problem or found or "", todo=todo, required=False
    )


def _run(code: str, **environment: str) -> str | None:
    """Run code in a fresh Python; return None on success, otherwise its last line of output."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "no answer within two minutes"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return said[-1] if said else f"ended with status {done.returncode}"
