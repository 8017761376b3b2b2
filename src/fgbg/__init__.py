"""fgbg: train, judge and ship models that separate an object from its background.

Everything public is listed here and loaded when it is first used: `import fgbg` imports neither torch nor matplotlib.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fgbg.config import TrainConfig as TrainConfig
    from fgbg.data.augment import Augment as Augment
    from fgbg.data.augment_ranges import AugmentRanges as AugmentRanges
    from fgbg.data.figures import draw_figure as draw_figure
    from fgbg.data.figures import draw_figures as draw_figures
    from fgbg.data.samples import Sample as Sample
    from fgbg.data.sources import open_samples as open_samples
    from fgbg.doctor.audit import check_data
    from fgbg.errors import UserError as UserError
    from fgbg.judge.compare import compare_runs as compare_runs
    from fgbg.judge.distances import boundary_iou as boundary_iou
    from fgbg.judge.distances import surface_distances as surface_distances
    from fgbg.judge.evaluate import evaluate as evaluate
    from fgbg.judge.evaluate_masks import evaluate_masks as evaluate_masks
    from fgbg.judge.metrics import count_pixels as count_pixels
    from fgbg.judge.metrics import dice as dice
    from fgbg.judge.metrics import iou as iou
    from fgbg.judge.metrics import precision as precision
    from fgbg.judge.metrics import recall as recall
    from fgbg.judge.metrics import specificity as specificity
    from fgbg.judge.objects import count_objects as count_objects
    from fgbg.judge.runs import evaluate_run as evaluate_run
    from fgbg.run import Run as Run
    from fgbg.run import open_run as open_run
    from fgbg.search.sweep import sweep as sweep
    from fgbg.ship.export import export_model
    from fgbg.ship.load import Model as Model
    from fgbg.ship.load import load as load
    from fgbg.training.loop import Metric as Metric
    from fgbg.training.losses import Loss as Loss
    from fgbg.training.train import train as train

    check = check_data
    export = export_model

__version__ = "0.1.0"

_HOMES = {
    "Augment": "fgbg.data.augment",
    "AugmentRanges": "fgbg.data.augment_ranges",
    "Loss": "fgbg.training.losses",
    "Metric": "fgbg.training.loop",
    "Model": "fgbg.ship.load",
    "Run": "fgbg.run",
    "Sample": "fgbg.data.samples",
    "TrainConfig": "fgbg.config",
    "UserError": "fgbg.errors",
    "boundary_iou": "fgbg.judge.distances",
    "check": "fgbg.doctor.audit",
    "compare_runs": "fgbg.judge.compare",
    "count_objects": "fgbg.judge.objects",
    "count_pixels": "fgbg.judge.metrics",
    "dice": "fgbg.judge.metrics",
    "draw_figure": "fgbg.data.figures",
    "draw_figures": "fgbg.data.figures",
    "evaluate": "fgbg.judge.evaluate",
    "evaluate_masks": "fgbg.judge.evaluate_masks",
    "evaluate_run": "fgbg.judge.runs",
    "export": "fgbg.ship.export",
    "iou": "fgbg.judge.metrics",
    "load": "fgbg.ship.load",
    "open_run": "fgbg.run",
    "open_samples": "fgbg.data.sources",
    "precision": "fgbg.judge.metrics",
    "recall": "fgbg.judge.metrics",
    "specificity": "fgbg.judge.metrics",
    "surface_distances": "fgbg.judge.distances",
    "sweep": "fgbg.search.sweep",
    "train": "fgbg.training.train",
}

_NAMES = {"check": "check_data", "export": "export_model"}  # the name in its module, where it differs

__all__ = ["__version__", *sorted(_HOMES)]  # noqa: PLE0604 - every name is a string


if not TYPE_CHECKING:  # a type checker that saw it would take any name for one of fgbg's

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'fgbg' has no attribute '{name}'")
        try:
            home = import_module(_HOMES[name])
        except ModuleNotFoundError as error:
            extra = "sweep" if error.name == "optuna" else "train"
            raise ModuleNotFoundError(
                f"fgbg.{name} needs {error.name}: pip install 'fgbg[{extra}]'", name=error.name
            ) from error
        return getattr(home, _NAMES.get(name, name))


def __dir__() -> list[str]:
    return __all__
