"""Screenshots of the viewer and the report, light and dark, for docs/. `make pictures` runs it.

    python .ci/screenshots.py runs docs/viewer --run demo --report runs/demo/report/index.html

It starts the viewer itself. It needs Chromium (`apt-get install chromium`) and Playwright;
`--only rollouts` updates a single page.
"""

import argparse
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

WIDTH = 1280
PATIENCE = 300_000  # milliseconds
LARGEST = 280 * 1024  # bytes of one picture
# The script of the page has ended, and nothing waits for its content.
DRAWN = """() => {
    const app = document.querySelector('[data-test-script-state]');
    const waiting = document.querySelector('[data-testid=stSkeleton], [data-testid=stSpinner]');
    return app?.dataset.testScriptState === 'notRunning' && !waiting;
}"""


def nothing(page: Page) -> None:
    """Show the page as it opens."""


def drive(page: Page) -> None:
    """Drive by held keys, then let a policy take over."""
    at_least = """n => [...document.querySelectorAll('*')].some(e =>
        Number(e.shadowRoot?.querySelector('.drive')?.dataset.frame) >= n)"""
    page.locator(".drive[data-state=ready]").wait_for()
    page.get_by_label("Policy").select_option("shipped: bc-10/step-1300")
    for key, count in (("d", 4), ("w", 8)):
        page.keyboard.down(key)
        page.wait_for_function(at_least, arg=count)
        page.keyboard.up(key)
    page.keyboard.press("t")
    page.wait_for_function(at_least, arg=32)
    page.keyboard.press("t")
    page.wait_for_timeout(3000)  # the judge answers


def check(page: Page) -> None:
    """Check the dataset."""
    page.get_by_role("button", name="Check the dataset").click()
    page.get_by_text(re.compile(r"would harm training[;.]")).wait_for()


@dataclass(frozen=True)
class Shot:
    """A page, and what to do before its screenshot."""

    name: str
    path: str
    heading: str
    height: int
    prepare: Callable[[Page], None] = nothing
    video: bool = False


SHOTS = (
    Shot("ranking", "", "Ranking", 2440),
    Shot("rollouts", "rollouts", "Roll-outs", 2230, video=True),
    Shot("compare", "compare", "Compare two policies", 1480, video=True),
    Shot("judge", "labelling", "Judge", 950, video=True),
    Shot("gates", "gates", "Gates", 1000),
    Shot("export", "exporting", "Export", 1150),
    Shot("runs", "runs", "Runs", 500),
    Shot("data", "browse", "Data", 2300, check, video=True),
    Shot("drive", "drive", "Drive", 860, drive),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="Folder of runs.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--run", required=True)
    parser.add_argument("--episode", default="", help="Episode on the page Roll-outs.")
    parser.add_argument("--data", default="", help="Dataset on the page Data.")
    parser.add_argument("--only", default="", help="Name of a single page to update.")
    parser.add_argument("--report", type=Path, help="HTML file of a report, for its screenshots.")
    args = parser.parse_args()
    chromium = shutil.which("chromium")
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    link = {"run": args.run, "episode": args.episode, "data": args.data}
    args.out.mkdir(parents=True, exist_ok=True)
    with viewer(args.runs) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        for shot in SHOTS:
            if args.only not in ("", shot.name):
                continue
            for scheme in ("light", "dark"):
                path = args.out / f"{shot.name}-{scheme}.png"
                path.write_bytes(small(take(browser, address, shot, link, scheme)))
                print(path, path.stat().st_size // 1024, "KiB", flush=True)
        if args.report and args.only in ("", "report"):
            for scheme in ("light", "dark"):
                for part, taken in take_report(browser, args.report, scheme).items():
                    path = args.out / f"{part}-{scheme}.png"
                    path.write_bytes(small(taken))
                    print(path, path.stat().st_size // 1024, "KiB", flush=True)
        if args.only in ("", "bundle"):
            for name, taken in take_bundle(browser, args.runs / args.run):
                path = args.out / f"{name}.png"
                path.write_bytes(small(taken))
                print(path, path.stat().st_size // 1024, "KiB", flush=True)
        browser.close()


@contextmanager
def viewer(runs: Path) -> Iterator[str]:
    """Run the viewer on a free port, and return its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    verb = ["view", str(runs), "--no-browser", "--port", str(port)]
    # The page Judge suggests the login name.
    environment = {**os.environ, "LOGNAME": "reviewer"}
    process = subprocess.Popen(
        [sys.executable, "-m", "worldeval", *verb], start_new_session=True, env=environment
    )
    address = f"http://localhost:{port}"
    try:
        for _ in range(PATIENCE // 1000):
            try:
                urllib.request.urlopen(f"{address}/_stcore/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit("the viewer did not start")
                time.sleep(1)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def take_report(browser: Any, report: Path, scheme: Any) -> dict[str, bytes]:
    """Take screenshots of the top of a report, and of its first film strips."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": 1500}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    page.goto(report.resolve().as_uri())
    parts = {}
    for name, place in (("report", "body"), ("report-films", "#episodes")):
        page.locator(place).first.evaluate("e => e.scrollIntoView()")
        page.wait_for_timeout(2000)  # images are decoded when they come into view
        parts[name] = page.screenshot()
    context.close()
    return parts


def take_bundle(browser: Any, run: Path) -> Iterator[tuple[str, bytes]]:
    """Take screenshots of a bundle of the run: on a desk in the light, on a phone in the dark."""
    with tempfile.TemporaryDirectory() as folder:
        verb = ["view", str(run), "--bundle", f"{folder}/site"]
        subprocess.run([sys.executable, "-m", "worldeval", *verb], check=True)
        for scheme, width in (("light", WIDTH), ("dark", 400)):
            context = browser.new_context(
                viewport={"width": width, "height": 1000}, color_scheme=scheme, offline=True
            )
            page = context.new_page()
            page.goto(Path(folder, "site/index.html").as_uri())
            for name, place in (("ranking", "#ranking"), ("episode", "#episodes?film=1")):
                page.goto(f"{Path(folder, 'site/index.html').as_uri()}{place}")
                if name == "episode":
                    page.locator("tr.pick").first.click()
                    page.wait_for_function("document.querySelector('video')?.readyState >= 2")
                page.wait_for_timeout(1500)
                yield f"bundle-{name}-{scheme}", page.screenshot()
            context.close()


def take(browser: Any, address: str, shot: Shot, link: dict[str, str], scheme: Any) -> bytes:
    """Take a screenshot of the page as PNG, once everything on it is drawn."""
    context = browser.new_context(
        viewport={"width": WIDTH, "height": shot.height}, color_scheme=scheme
    )
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    query = urlencode({name: value for name, value in link.items() if value})
    page.goto(f"{address}/{shot.path}?{query}")
    page.get_by_role("heading", name=shot.heading, exact=True).wait_for()
    page.wait_for_function(DRAWN)
    shot.prepare(page)
    page.wait_for_function(DRAWN)
    if shot.video:
        page.wait_for_function(
            "[...document.querySelectorAll('video')].every(v => v.readyState >= 2)"
        )
    page.wait_for_timeout(1500)  # charts fade in
    taken = page.screenshot()
    context.close()
    return taken


def small(content: bytes) -> bytes:
    """Reduce to a palette and, if the file is too large, to a smaller width."""
    whole = Image.open(io.BytesIO(content)).convert("RGB")
    for width in (WIDTH, 1060, 880, 720):
        size = (width, round(whole.height * width / whole.width))
        picture = whole if width >= whole.width else whole.resize(size, Image.Resampling.LANCZOS)
        buffer = io.BytesIO()
        palettes = [
            picture.quantize(256, method, dither=Image.Dither.NONE)
            for method in (Image.Quantize.FASTOCTREE, Image.Quantize.MEDIANCUT)
        ]
        min(palettes, key=lambda one: loss(one, picture)).save(buffer, "PNG", optimize=True)
        if buffer.tell() <= LARGEST:
            break
    return buffer.getvalue()


def loss(palette: Image.Image, picture: Image.Image) -> float:
    """Mean fourth power of the colour errors, so that a rare colour counts if it is lost."""
    error = np.asarray(palette.convert("RGB"), float) - np.asarray(picture, float)
    return float((error**4).mean())


if __name__ == "__main__":
    main()
