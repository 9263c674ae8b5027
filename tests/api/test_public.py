"""The public names: light to import, documented, and every example runs."""

import doctest
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import worldeval as we

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "pandas", "numpy", "matplotlib", "scipy", "h5py", "typer", "rich"}
FURTHER = re.findall(r"`worldeval\.api\.(\w+)\.(\w+)`", (ROOT / "docs/api.md").read_text())
WAYS = ("sft", "rl", "pa", "qgf", "expo", "sac", "search", "compose")


def functions() -> dict[str, object]:
    """Every public function or class with its full name."""
    named = {
        name: getattr(we, name) for name in we.__all__ if name not in ("__version__", "improve")
    }
    ways = {f"improve.{way}": getattr(we.improve, way) for way in WAYS}
    further = {
        f"api.{module}.{name}": getattr(import_module(f"worldeval.api.{module}"), name)
        for module, name in FURTHER
    }
    return {**named, **ways, **further}


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, worldeval; dir(worldeval); print(sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_is_no_public_one_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="rnak"):
        we.rnak  # noqa: B018


def test_folders_of_the_package_do_not_take_the_place_of_functions() -> None:
    import worldeval.export.dataset
    import worldeval.improve.sft
    import worldeval.report.page  # noqa: F401

    assert callable(we.export) and callable(we.report) and callable(we.improve.sft)


@pytest.mark.parametrize("name", functions())
def test_every_public_name_says_what_it_does(name: str) -> None:
    text = inspect.getdoc(functions()[name]) or ""
    assert text.splitlines()[0].endswith(".")


@pytest.mark.parametrize("name", functions())
def test_the_examples_run(name: str, toy: Path) -> None:
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    parser = doctest.DocTestParser()
    text = inspect.getdoc(functions()[name]) or ""
    if ">>>" not in text:
        assert inspect.isclass(functions()[name])
        return
    runner.run(parser.get_doctest(text, {}, name, None, 0))
    assert runner.summarize(verbose=False).failed == 0


def test_the_documentation_lists_every_public_name() -> None:
    text = (ROOT / "docs/api.md").read_text()
    assert len(FURTHER) > 10
    public = [name for name in functions() if not name.startswith("api.")]
    missing = [name for name in public if f"### `{name}" not in text]
    assert missing == []
