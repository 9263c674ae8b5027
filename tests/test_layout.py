"""The shape of the code base: what may import what, what lives where, and how long a file is."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "worldeval"
CODE = [PACKAGE, ROOT / "app", ROOT / "tests", ROOT / "benchmarks"]
RECIPE_FOLDERS = ["models", "datasets", "evaluation"]

# A module may import its own folder and folders of a lower number. Files at the top are 0.
LAYERS = {
    "data": 1,
    "training": 1,
    "envs": 2,
    "world": 2,
    "policy": 2,
    "rollout": 3,
    "judge": 4,
    "stats": 5,
    "runs": 6,
    "report": 7,
    "export": 7,
    "improve": 7,
    "serve": 7,
    "evaluate": 8,
    "api": 9,
    "cli": 10,
    "app": 10,
}
TORCH_LAYERS = {"data", "training", "envs", "world", "policy", "rollout", "judge", "device"}
TORCH_LAYERS |= {"checked_weights"}
LIGHT = {"stats", "runs"}

# All that commands may import: the work of each is one function of the Python API. `files` writes
# what --out names, and `config` reads the values of --set.
COMMANDS = ("api.", "cli.", "errors.", "config.", "files.", "__version__")

# Third-party modules whose packages are named otherwise.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "yaml": "pyyaml",
    "google": "protobuf",
    "google_crc32c": "google-crc32c",
    "huggingface_hub": "huggingface-hub",
}


def files(*folders: Path) -> list[Path]:
    return sorted(path for folder in folders for path in folder.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, at any depth; `from a import b` gives `a.b`."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write `from worldeval...`"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def stage(module: str) -> str:
    """`worldeval.data.video.Reader` -> `data`; the top's own files give their name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def forbidden(path: Path, module: str) -> str | None:
    """Why the file may not import the module; None where it may."""
    top = module.split(".")[0]
    inside = path.relative_to(PACKAGE).parts
    own = inside[0] if len(inside) > 1 else ""
    if own in LIGHT and (top == "torch" or stage(module) in TORCH_LAYERS):
        return f"{own} is read without torch: no torch layer"
    if top == "app" and own != "cli":
        return "only the command line opens the viewer"
    if own == "cli" and top == "worldeval":
        allowed = module.removeprefix("worldeval.").startswith(COMMANDS)
        return None if allowed else "commands call the Python API alone"
    if top != "worldeval" or stage(module) == own or inside in (("__main__.py",), ("__init__.py",)):
        return None
    if LAYERS.get(stage(module), 0) > LAYERS.get(own, 0):
        return f"{own or 'the top'} stands below {stage(module)}"
    if LAYERS.get(stage(module), 0) == LAYERS.get(own, 0) != 0:
        return f"{own} and {stage(module)} are siblings"
    return None


@pytest.mark.parametrize(
    ("file", "module", "allowed"),
    [
        ("data/video.py", "worldeval.record.Episode", True),
        ("rollout/loop.py", "worldeval.world.protocol.WorldModel", True),
        ("world/dit.py", "worldeval.world.sampler.sample", True),
        ("cli/rank.py", "worldeval.api.rank.rank", True),
        ("cli/rank.py", "worldeval.stats.ranking.rank", False),
        ("api/rank.py", "worldeval.stats.ranking.rank", True),
        ("data/video.py", "worldeval.world.tokenizer.network.Tokenizer", False),
        ("world/dit.py", "worldeval.policy.protocol.Policy", False),
        ("recipe.py", "worldeval.data.video.read", False),
        ("stats/rates.py", "worldeval.judge.verdict.judge", False),
        ("stats/rates.py", "torch", False),
        ("runs/store.py", "worldeval.stats.Estimate", True),
        ("report/contents.py", "worldeval.runs.summary.Summary", True),
        ("stats/rates.py", "worldeval.runs.summary.Summary", False),
        ("runs/store.py", "torch", False),
        ("runs/store.py", "worldeval.rollout.loop.imagine", False),
        ("stats/rates.py", "numpy", True),
    ],
)
def test_the_import_rule_itself(file: str, module: str, allowed: bool) -> None:
    assert (forbidden(PACKAGE / file, module) is None) == allowed


def test_imports_run_one_way() -> None:
    broken = {
        f"{path.relative_to(ROOT)} imports {module}": reason
        for path in files(PACKAGE)
        for module in imports(path)
        if (reason := forbidden(path, module))
    }
    assert not broken


def test_every_folder_of_the_package_is_a_known_stage() -> None:
    folders = {
        path.parent.relative_to(PACKAGE).parts[0]
        for path in files(PACKAGE)
        if path.parent != PACKAGE
    }
    assert folders <= set(LAYERS)


def test_the_map_names_every_folder_and_file_that_it_leads_through() -> None:
    """CONTRIBUTING's map is of this tree: no folder is missing, no file is made up."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    begin, end = text.index("## Where things live"), text.index("## Adding something")
    named = set(re.findall(r"`((?:[a-z_]+/)+)`", text[begin:end]))
    folders = {
        f"{path.parent.relative_to(PACKAGE)}/"
        for path in files(PACKAGE)
        if path.parent != PACKAGE and "formats/" not in f"{path.parent.relative_to(PACKAGE)}/"[:-1]
    }
    assert folders - named == set()
    walks = text[text.index("### Three walks") : end]
    paths = re.findall(r"`([a-z_/]+\.py)`", walks)
    assert len(paths) > 15
    assert [path for path in paths if not (PACKAGE / path).is_file()] == []
    for walk in walks.split("**")[2::2]:
        stages = [path.split("/")[0] for path in re.findall(r"`([a-z_/]+\.py)`", walk)]
        inner = [stage for stage in stages if stage not in ("cli", "api")]
        assert [LAYERS[stage] for stage in inner] == sorted(LAYERS[stage] for stage in inner)


def test_recipe_folders_hold_no_code() -> None:
    """A `datasets/__init__.py` would shadow Hugging Face's `datasets` for everyone at the root."""
    assert files(*(ROOT / folder for folder in RECIPE_FOLDERS)) == []
    assert not {"datasets", "models", "evaluation"} & {path.stem for path in files(ROOT / "app")}


def test_the_wheel_takes_every_folder_that_holds_something_and_no_other() -> None:
    """An empty folder is not in a clone, and a build that is told to take it fails."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]
    held = {
        folder: f"worldeval/{'' if folder == 'app' else 'recipes/'}{folder}"
        for folder in (*RECIPE_FOLDERS, "app")
        if [*(ROOT / folder).glob("*.yaml"), *(ROOT / folder).glob("*.py")]
    }
    assert wheel["force-include"] == held


def test_files_stay_short() -> None:
    lengths = {str(path): len(path.read_text().splitlines()) for path in files(*CODE)}
    assert not {path: length for path, length in lengths.items() if length > 450}


def test_no_class_is_defined_twice() -> None:
    """One name, one meaning: a reader who looks a class up finds one place."""
    defined: dict[str, list[str]] = {}
    for path in files(PACKAGE):
        for node in ast.walk(ast.parse(path.read_text(), str(path))):
            if isinstance(node, ast.ClassDef):
                defined.setdefault(node.name, []).append(str(path.relative_to(ROOT)))
    twice = {name: paths for name, paths in defined.items() if len(paths) > 1}
    assert not twice


def test_what_is_imported_exists() -> None:
    """Also in functions, which import late: a name that moved is found at once."""
    named = {_module(path): path for path in files(PACKAGE)}
    there = {name: _defined(path) for name, path in named.items()}
    lost = []
    for path in files(*CODE):
        for module in imports(path):
            parent, _, name = module.rpartition(".")
            ours = module.split(".")[0] == "worldeval"
            if ours and module not in named and name not in there.get(parent, set()):
                lost.append(f"{path.relative_to(ROOT)} imports {module}, which is not there")
    assert not lost


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Whoever reads a module can read what it stands on first."""
    paths = {_module(path): path for path in files(PACKAGE)}
    stands_on = {name: _imported(path, set(paths)) for name, path in paths.items()}
    assert circles(stands_on) == []


@pytest.mark.parametrize(
    ("stands_on", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
        ({"a": {"b"}, "b": {"a"}}, [{"a", "b"}]),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}, [{"b", "c"}]),
    ],
)
def test_the_search_for_circles_itself(
    stands_on: dict[str, set[str]], found: list[set[str]]
) -> None:
    assert circles(stands_on) == found


def circles(stands_on: dict[str, set[str]]) -> list[set[str]]:
    """The sets of modules that reach each other."""
    left = {name: set(others) for name, others in stands_on.items()}
    while ends := {name for name, others in left.items() if not others & set(left)}:
        left = {name: others for name, others in left.items() if name not in ends}
    reached = {name: _reached(name, left) for name in left}
    return [
        set(group)
        for group in sorted(
            {
                frozenset(other for other in reached[name] if name in reached[other])
                for name in left
                if name in reached[name]
            },
            key=sorted,
        )
    ]


def _reached(name: str, stands_on: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    ahead = set(stands_on[name])
    while ahead:
        now = ahead.pop()
        if now in stands_on and now not in reached:
            reached.add(now)
            ahead |= stands_on[now]
    return reached


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _defined(path: Path) -> set[str]:
    """The names at the top of a module, also those within an `if` or a `try` there."""
    found: set[str] = set()
    inside = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    ahead: list[ast.AST] = [ast.parse(path.read_text(), str(path))]
    while ahead:
        for node in ast.iter_child_nodes(ahead.pop()):
            if isinstance(node, inside):
                found.add(node.name)
                continue
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.alias):
                found.add(node.asname or node.name)
            ahead.append(node)
    return found


def _imported(path: Path, known: set[str]) -> set[str]:
    """The modules that a file imports when it is imported itself."""
    found = set()
    for node in ast.parse(path.read_text(), str(path)).body:
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{name.name}" for name in node.names}
            found |= (inside & known) or {str(node.module)}
    return found & known


def test_one_simulator_is_named_in_its_own_folder_only() -> None:
    """No robot is special."""
    own = PACKAGE / "envs/metaworld"
    named = [
        str(path.relative_to(ROOT))
        for path in files(PACKAGE)
        if not path.is_relative_to(own)
        and re.search(r"meta-?world", path.read_text(), re.IGNORECASE)
    ]
    assert named == []


# What a run keeps, and what reads tables: `runs/` alone names and opens them.
RUN_FILE = re.compile(
    r"(.*/)?(summary\.json|run\.json|manifest\.json|seconds\.json|labels\.jsonl|errors\.jsonl"
    r"|(imagined|truth)\.csv|recipe\.yaml|filmstrips/.*)"
)
RUN_FOLDERS = {"imagined", "truth", "outcomes", "filmstrips"}  # below a run's path
TABLES = {"read_csv", "to_csv", "DictReader", "DictWriter"}


def names_run_files(path: Path) -> Iterator[str]:
    """Names of a run's files that a module spells out, and its calls that read or write tables."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if RUN_FILE.fullmatch(node.value):
                yield f"line {node.lineno}: '{node.value}'"
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            if isinstance(node.right, ast.Constant) and node.right.value in RUN_FOLDERS:
                yield f"line {node.lineno}: / '{node.right.value}'"
        elif isinstance(node, ast.Attribute) and node.attr in TABLES:
            yield f"line {node.lineno}: {node.attr}"


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('read_json(run / "summary.json")', 1),
        ('pd.read_csv(run / "outcomes/truth.csv")', 2),
        ('text = f"{run}/run.json"', 1),
        ('RolloutStore(run / "imagined")', 1),
        ('facts = {"filmstrips": 3}', 0),
        ('"""Reads summary.json of a run."""', 0),
        ("RunPaths(run).summary", 0),
    ],
)
def test_the_rule_of_run_files_itself(tmp_path: Path, code: str, found: int) -> None:
    (tmp_path / "a.py").write_text(code)
    assert len(list(names_run_files(tmp_path / "a.py"))) == found


def test_files_of_a_run_are_opened_in_runs_alone() -> None:
    """A second reader of a file is a second opinion of what it means."""
    outside = {
        f"{path.relative_to(ROOT)}, {name}"
        for path in files(PACKAGE, ROOT / "app", ROOT / "benchmarks")
        if stage(".".join(path.relative_to(ROOT).parts)) not in ("runs", "data")
        for name in names_run_files(path)
    }
    assert outside == set()


def test_no_bare_except() -> None:
    bare = [
        f"{path}:{node.lineno}"
        for path in files(*CODE)
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert bare == []


def test_every_file_says_what_it_is_for() -> None:
    silent = [
        str(path)
        for path in files(PACKAGE)
        if path.read_text() and not ast.get_docstring(ast.parse(path.read_text(), str(path)))
    ]
    assert silent == []


def test_third_party_imports_are_declared_dependencies() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    declared = {
        match[0].lower()
        for line in (*project["dependencies"], *(each for extra in extras for each in extra))
        if (match := re.match(r"[\w.-]+", line))
    }
    wanted = {
        module.split(".")[0]: path
        for path in files(PACKAGE, ROOT / "app")
        for module in imports(path)
    }
    known = {*sys.stdlib_module_names, "worldeval", "app"}
    missing = {
        f"{name} in {path.relative_to(ROOT)}"
        for name, path in wanted.items()
        if name not in known and DISTRIBUTIONS.get(name, name).lower() not in declared
    }
    assert missing == set()
