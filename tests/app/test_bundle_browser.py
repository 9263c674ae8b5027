"""A bundle in a real browser, opened from a file without a network."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from worldeval.report.bundle import write_bundle
from worldeval.report.contents import read_contents
from worldeval.runs.episodes import read_episodes

EPISODE = "bc-all@2400/drawer-open-v3-0/0"
WIDTHS = (400, 1280)


def bundle(run: Path, out: Path) -> str:
    contents = read_contents(run, rng=np.random.default_rng(0))
    return write_bundle(contents, read_episodes(run), out).path.resolve().as_uri()


@pytest.fixture(scope="session")
def site(kept_runs: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return bundle(kept_runs / "demo", tmp_path_factory.mktemp("bundle") / "site")


@pytest.fixture
def look(page: Any) -> Callable[..., Any]:
    """Open a place of the site; any error of its scripts, and any request, is kept."""
    page.context.set_offline(True)
    page.wrong = []
    page.asked = set()
    page.on("pageerror", lambda error: page.wrong.append(str(error)))
    page.on("console", lambda said: page.wrong.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: page.asked.add(request.url))

    def at(site: str, place: str = "") -> Any:
        page.goto("about:blank")
        page.goto(site + place)
        page.locator("main h1").wait_for()
        return page

    return at


def test_a_click_leads_from_the_ranking_to_a_film_that_plays(look: Any, site: str) -> None:
    page = look(site)
    assert "bc-all@2400 leads" in page.locator("h1").inner_text()
    page.get_by_text("Read with care").wait_for()  # caveats are open here
    page.get_by_role("link", name="blind", exact=True).click()
    page.get_by_role("link", name="All its episodes").click()
    page.get_by_text("24 of 120 imagined episodes").wait_for()
    page.get_by_text("3 caveats").wait_for()  # and one line elsewhere
    page.locator("tr.pick").first.click()
    video = page.locator("video")
    # Not wait_for_function, which the page's own policy of content refuses when it has to wait.
    video.evaluate(
        "v => v.readyState >= 2 || new Promise(ready => v.addEventListener('loadeddata', ready))"
    )
    assert video.evaluate("v => [v.error, v.controls, v.videoWidth > 100]") == [None, False, True]
    assert page.wrong == []
    assert {url.split(":")[0] for url in page.asked} <= {"file", "about"}


def test_a_filter_narrows_the_list_and_is_in_the_address(look: Any, site: str) -> None:
    page = look(site, "#episodes")
    page.get_by_label("Policy").select_option("bc-1@200")
    page.get_by_text("24 of 120").wait_for()
    page.get_by_label("Policy").select_option("blind")
    page.get_by_label("Verdict").select_option(index=3)  # too optimistic
    page.get_by_text("1 of 120").wait_for()
    page.get_by_label("Only with a film").check()
    page.wait_for_function("location.hash.includes('film=1')")
    look(page.url)
    page.get_by_text("1 of 120").wait_for()
    page.get_by_label("Policy").select_option("bc-1@200")
    page.get_by_text("No episode matches").wait_for()
    assert page.wrong == []


def test_a_link_opens_its_episode_and_keys_move(look: Any, site: str) -> None:
    page = look(site, f"#episode/{quote(EPISODE, safe='')}")
    page.get_by_text("too pessimistic").wait_for()
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    page.keyboard.press(" ")
    page.get_by_role("button", name="Play").wait_for()
    before = page.locator(".frame").inner_text()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("b => document.querySelector('.frame').textContent !== b", arg=before)
    page.get_by_label("World frame").fill("7")
    page.get_by_text("frame 7 of 12").wait_for()
    page.wait_for_function("Math.floor(8 * document.querySelector('video').currentTime) === 7")
    page.keyboard.press("n")
    page.wait_for_function("e => !decodeURIComponent(location.hash).endsWith(e)", arg=EPISODE)
    page.keyboard.press("p")
    page.wait_for_function("e => decodeURIComponent(location.hash).endsWith(e)", arg=EPISODE)
    assert page.wrong == []


def test_an_unknown_episode_is_said_to_be_so(look: Any, site: str) -> None:
    page = look(site, "#episode/%E0%A4%A")
    page.locator("h1").wait_for()
    page = look(site, "#episode/nothing")
    page.get_by_text("no such episode").wait_for()
    assert page.wrong == []


def test_two_policies_are_compared_and_a_start_is_chosen(look: Any, site: str) -> None:
    page = look(site, "#compare/bc-all@2400/blind")
    page.get_by_text("Statistically separated").wait_for()
    page.get_by_text("Shown because it has the largest difference").wait_for()
    page.locator("tr.pick").nth(3).click()
    page.get_by_text("Chosen by you").wait_for()
    page.get_by_label("Second").select_option("bc-1@200")
    page.wait_for_function("decodeURIComponent(location.hash).includes('bc-1@200')")
    assert page.wrong == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_a_desk_in_both_schemes(
    look: Any, page: Any, site: str, width: int, scheme: str
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for place in (
        "#ranking/blind",
        "#episodes",
        "#compare",
        "#caveats",
        f"#episode/{quote(EPISODE, safe='')}",
    ):
        look(site, place)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, place
        assert page.evaluate(OVERLAPPING) == [], place
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (np.mean([int(part) for part in colour[4:-1].split(",")]) > 200) == (scheme == "light")
    assert page.wrong == []


# Pairs of texts, buttons and boxes beside each other whose visible boxes intersect.
OVERLAPPING = """() => {
    const looked = 'main h1, main h2, main p, th, td, label, button, video, input[type=range], ' +
        '.chart text, dt, dd';
    const boxes = [...document.querySelectorAll(looked)].map(e => [e, e.getBoundingClientRect()])
        .filter(([, box]) => box.width && box.height);
    const wrong = [];
    boxes.forEach(([a, x], i) => boxes.slice(i + 1).forEach(([b, y]) => {
        if (a.contains(b) || b.contains(a) || a.closest('.wide') !== b.closest('.wide')) return;
        const across = Math.min(x.right, y.right) - Math.max(x.left, y.left);
        const down = Math.min(x.bottom, y.bottom) - Math.max(x.top, y.top);
        if (across > 1 && down > 1) wrong.push([a.textContent, b.textContent]);
    }));
    return wrong;
}"""


def test_names_with_markup_are_text(look: Any, runs: Path, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    shutil.rmtree(runs / "demo/imagined")  # it names the policy too
    path = runs / "demo/summary.json"
    summary = json.loads(path.read_text().replace('"blind"', json.dumps(evil)))
    summary["findings"] = [{"code": "x", "severity": "refusal", "text": evil}]
    path.write_text(json.dumps(summary))
    for name in ("imagined", "truth"):
        table = runs / f"demo/outcomes/{name}.csv"
        table.write_text(table.read_text().replace("blind", evil))
    page = look(bundle(runs / "demo", tmp_path / "site"))
    page.on("dialog", lambda dialog: page.wrong.append("a script of the run ran"))
    assert "must not be read as a ranking" in page.locator("h1").inner_text()
    page.get_by_role("link", name=evil).click()
    page.get_by_role("heading", name=evil, exact=True).wait_for()
    page.get_by_role("link", name="All its episodes").click()
    page.get_by_text("24 of 120").wait_for()
    page.locator("tr.pick").first.click()
    page.get_by_role("heading", name=evil).wait_for()
    assert page.locator("main img:not(.poster)").count() == 0
    assert page.wrong == []
