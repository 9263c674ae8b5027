"""The report in a real browser, as wide as a phone and a desk, light and dark."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldeval.report.contents import read_contents
from worldeval.report.page import write_page

PHONE, DESK = 400, 1280  # pixels

# Boxes of everything that is read, if it is drawn: words of the page and letters of its charts.
BOXES = """() => {
    const seen = element => element.checkVisibility();
    const out = [];
    const add = (what, box, text) => {
        if (box.width > 0 && box.height > 0)
            out.push([what, text, box.left + scrollX, box.top + scrollY, box.right + scrollX,
                      box.bottom + scrollY]);
    };
    for (const text of document.querySelectorAll('svg.chart text')) {
        if (seen(text)) add('chart', text.getBoundingClientRect(), text.textContent);
    }
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
        const node = walk.currentNode, owner = node.parentElement;
        if (!node.data.trim() || owner.closest('svg, .wide, .heat thead') || !seen(owner)) continue;
        const range = document.createRange();
        range.selectNodeContents(node);
        for (const box of range.getClientRects()) add('text', box, node.data.trim());
    }
    for (const cell of document.querySelectorAll('.ranking th, .ranking td, .heat th, .heat td')) {
        if (seen(cell)) add('cell', cell.getBoundingClientRect(), cell.textContent.trim());
    }
    return out;
}"""
CONTRAST = """element => {
    const of = (e, name) => getComputedStyle(e)[name].match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => {
        const [x, y, z] = [r, g, b].map(v => v / 255).map(
            v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * x + 0.7152 * y + 0.0722 * z;
    };
    const ink = light(of(element, element.closest('svg') ? 'fill' : 'color'));
    const paper = light(of(document.documentElement, 'backgroundColor'));
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
}"""


@pytest.fixture(scope="module")
def report(kept_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    contents = read_contents(kept_run, rng=np.random.default_rng(0))
    return write_page(contents, tmp_path_factory.mktemp("page") / "run.html", embed=True)


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[PHONE, DESK])
def page(browser: Any, report: Path, scheme: str, request: pytest.FixtureRequest) -> Any:
    """The report, opened from its file with every fold open."""
    size = {"width": request.param, "height": 900}
    context = browser.new_context(viewport=size, color_scheme=scheme, offline=True)
    opened = context.new_page()
    opened.goto(report.as_uri())
    opened.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
    yield opened
    context.close()


def overlapping(boxes: list[list[Any]], kind: str) -> list[tuple[str, str]]:
    """Pairs of texts of one kind whose boxes share more than a pixel each way."""
    own = [box for box in boxes if box[0] == kind]
    sides = np.array([box[2:] for box in own], float)
    shared = np.minimum(sides[:, None, 2:], sides[None, :, 2:]) - np.maximum(
        sides[:, None, :2], sides[None, :, :2]
    )
    pairs = np.argwhere(np.triu((shared > 1).all(-1), 1))
    return [(own[a][1], own[b][1]) for a, b in pairs]


def test_nothing_overlaps_and_nothing_is_wider_than_the_window(page: Any) -> None:
    boxes = page.evaluate(BOXES)
    kinds = {kind: [box for box in boxes if box[0] == kind] for kind in ("chart", "text", "cell")}
    assert all(len(found) > 20 for found in kinds.values())
    for kind in kinds:
        assert overlapping(boxes, kind) == [], kind
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert max(box[4] for box in kinds["chart"]) <= width


def test_every_part_is_reached_from_the_contents(page: Any) -> None:
    links = page.locator("nav.contents a")
    assert links.count() == 8
    links.last.click()
    assert page.url.endswith("#provenance")
    assert page.locator("#provenance").bounding_box()["y"] < 900


def test_the_ranking_fits_with_its_ties_beside_the_names(page: Any) -> None:
    table = page.locator("table.ranking")
    box, width = table.bounding_box(), page.viewport_size["width"]
    assert box["x"] >= 0 and box["x"] + box["width"] <= width
    first = table.locator("tbody tr").first
    assert first.locator("th .letters").is_visible() and first.locator("th .name").is_visible()
    assert first.locator("td.barred").is_visible() == (width == DESK)
    assert page.locator(".on-narrow").first.is_visible() == (width == PHONE)


def test_clips_are_drawn_and_can_be_stopped(page: Any) -> None:
    clips = page.locator("img.moving")
    assert clips.count() == 5
    sizes = clips.evaluate_all("all => all.map(i => [i.complete, i.naturalWidth, i.width])")
    width = page.viewport_size["width"]
    assert all(done and natural > 0 and 100 < shown < width for done, natural, shown in sizes)
    page.locator("#stills").check()
    assert not clips.first.is_visible() and page.locator("img.last").first.is_visible()


def test_both_schemes_are_legible(page: Any, scheme: str) -> None:
    colour = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    bright = np.mean([int(part) for part in colour[4:-1].split(",")])
    assert (bright > 200) == (scheme == "light")
    for text in ("h1", ".lead", ".note", ".hint", ".interval", ".badge.real", ".sides .imagined"):
        assert page.locator(text).first.evaluate(CONTRAST) >= 4.5, text
    letters = page.locator("svg.chart text").filter(visible=True)
    assert letters.first.evaluate(CONTRAST) >= 4.5


def test_who_asks_for_less_motion_gets_none(browser: Any, report: Path) -> None:
    context = browser.new_context(reduced_motion="reduce", offline=True)
    opened = context.new_page()
    opened.goto(report.as_uri())
    assert not opened.locator("img.moving").first.is_visible()
    assert opened.locator("img.last").first.is_visible()
    context.close()
