"""Rank robot policies inside a learned world model, and quantify how certain the ranking is.

    import worldeval as we

    result = we.rank("runs/bc/step-*", "models/latent", "models/judge", "starts.h5")

Every public name is listed in `docs/api.md`. They are loaded on first use, so importing
worldeval is instant.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Public name -> the module that defines it, and its name there ("" is the module itself).
_PUBLIC = {
    "load_world": ("worldeval.api.load", "load_world"),
    "load_judge": ("worldeval.api.load", "load_judge"),
    "load_policy": ("worldeval.api.load", "load_policy"),
    "load_starts": ("worldeval.api.load", "load_starts"),
    "open_dataset": ("worldeval.api.data", "open_dataset"),
    "inspect_dataset": ("worldeval.api.data", "inspect_dataset"),
    "check_dataset": ("worldeval.api.data", "check_dataset"),
    "convert_dataset": ("worldeval.api.data", "convert_dataset"),
    "learn": ("worldeval.api.learn", "learn"),
    "train_world": ("worldeval.api.train", "train_world"),
    "train_judge": ("worldeval.api.train", "train_judge"),
    "judge_again": ("worldeval.api.judge_again", "judge_again"),
    "label_data": ("worldeval.api.label", "label_data"),
    "calibrate_with_labels": ("worldeval.api.label_calibration", "calibrate_with_labels"),
    "calibrate_judge": ("worldeval.api.train", "calibrate_judge"),
    "train_policies": ("worldeval.api.train", "train_policies"),
    "check_policies": ("worldeval.api.check_policies", "check_policies"),
    "rank": ("worldeval.api.rank", "rank"),
    "imagine": ("worldeval.api.rank", "imagine"),
    "truth": ("worldeval.api.rank", "truth"),
    "merge": ("worldeval.api.rank", "merge"),
    "watch": ("worldeval.api.watch", "watch"),
    "fidelity": ("worldeval.api.fidelity", "fidelity"),
    "film": ("worldeval.api.film", "film"),
    "next_trials": ("worldeval.api.next_trials", "next_trials"),
    "validate": ("worldeval.api.validate", "validate"),
    "plan": ("worldeval.api.validate", "plan"),
    "make_passport": ("worldeval.api.passport", "make_passport"),
    "open_passport": ("worldeval.api.passport", "open_passport"),
    "check_passport": ("worldeval.api.passport", "check_passport"),
    "open_run": ("worldeval.api.result", "open_run"),
    "Result": ("worldeval.api.result", "Result"),
    "explain": ("worldeval.api.explain", "explain"),
    "export": ("worldeval.api.export", "export"),
    "push": ("worldeval.api.push", "push"),
    "report": ("worldeval.api.report", "report"),
    "bundle": ("worldeval.api.bundle", "bundle"),
    "improve": ("worldeval.api.improve", ""),
    "Policy": ("worldeval.policy.protocol", "Policy"),
    "PolicySpec": ("worldeval.policy.protocol", "PolicySpec"),
    "Observation": ("worldeval.record", "Observation"),
    "UserError": ("worldeval.errors", "UserError"),
}

__all__ = [*_PUBLIC, "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from worldeval.api import improve as improve
    from worldeval.api.bundle import bundle as bundle
    from worldeval.api.check_policies import check_policies as check_policies
    from worldeval.api.data import check_dataset as check_dataset
    from worldeval.api.data import convert_dataset as convert_dataset
    from worldeval.api.data import inspect_dataset as inspect_dataset
    from worldeval.api.data import open_dataset as open_dataset
    from worldeval.api.explain import explain as explain
    from worldeval.api.export import export as export
    from worldeval.api.fidelity import fidelity as fidelity
    from worldeval.api.film import film as film
    from worldeval.api.learn import learn as learn
    from worldeval.api.load import load_judge as load_judge
    from worldeval.api.load import load_policy as load_policy
    from worldeval.api.load import load_starts as load_starts
    from worldeval.api.load import load_world as load_world
    from worldeval.api.next_trials import next_trials as next_trials
    from worldeval.api.passport import check_passport as check_passport
    from worldeval.api.passport import make_passport as make_passport
    from worldeval.api.passport import open_passport as open_passport
    from worldeval.api.push import push as push
    from worldeval.api.rank import imagine as imagine
    from worldeval.api.rank import merge as merge
    from worldeval.api.rank import rank as rank
    from worldeval.api.rank import truth as truth
    from worldeval.api.report import report as report
    from worldeval.api.result import Result as Result
    from worldeval.api.result import open_run as open_run
    from worldeval.api.train import calibrate_judge as calibrate_judge
    from worldeval.api.train import train_judge as train_judge
    from worldeval.api.train import train_policies as train_policies
    from worldeval.api.train import train_world as train_world
    from worldeval.api.validate import plan as plan
    from worldeval.api.validate import validate as validate
    from worldeval.api.watch import watch as watch
    from worldeval.errors import UserError as UserError
    from worldeval.policy.protocol import Policy as Policy
    from worldeval.policy.protocol import PolicySpec as PolicySpec
    from worldeval.record import Observation as Observation


class _Package(ModuleType):
    """`export`, `improve` and `report` are folders of the package too, and Python puts a folder in
    its parent when it is imported: the public functions keep their names."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _PUBLIC:
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'worldeval' has no attribute '{name}'")
    module, inside = _PUBLIC[name]
    loaded = import_module(module)
    value = globals()[name] = getattr(loaded, inside) if inside else loaded
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
