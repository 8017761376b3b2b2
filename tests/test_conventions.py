"""What other libraries report: by calling them on the same masks."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import monai.metrics
import numpy as np
import pytest
import segmentation_models_pytorch as smp
import sklearn.metrics
import surface_distance
import torch
import torchmetrics
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torchmetrics.segmentation import DiceScore

from fgbg.errors import UserError
from fgbg.judge.conventions import CONVENTIONS, describe_conventions, reproduce_conventions
from fgbg.judge.distances import contour_distances
from fgbg.judge.metrics import count_pixels, dice_of, iou_of
from fgbg.rows import ScoreRow

# surface_distance 0.1 (2019) reaches SciPy's filters through their old home.
pytestmark = pytest.mark.filterwarnings("ignore:Please import `.*` from the `scipy.ndimage` namespace:DeprecationWarning")

Masks = NDArray[np.bool_]  # (photos, height, width)
Ask = Callable[[Masks, Masks], float]


@pytest.fixture(autouse=True, scope="module")
def numpy_1_name() -> Iterator[None]:
    """surface_distance 0.1 was written for NumPy 1: where a mask is empty it asks for np.Inf."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, "Inf", np.inf, raising=False)
        yield


def ask_smp(score: Callable[..., torch.Tensor], **options: object) -> Ask:
    def ask(prediction: Masks, truth: Masks) -> float:
        one, other = (torch.tensor(masks)[:, None].long() for masks in (prediction, truth))
        return score(*smp.metrics.get_stats(one, other, mode="binary"), **options).item()

    return ask


def ask_monai(**options: object) -> Ask:
    def ask(prediction: Masks, truth: Masks) -> float:
        metric = monai.metrics.DiceMetric(**options)
        one, other = (torch.tensor(np.stack([~masks, masks], 1)).float() for masks in (prediction, truth))
        metric(one, other)
        return metric.aggregate().item()

    return ask


def ask_torchmetrics(make: Callable[[], torchmetrics.Metric]) -> Ask:
    def ask(prediction: Masks, truth: Masks) -> float:
        metric = make()
        for part in (slice(0, 1), slice(1, None)):  # two batches of different sizes
            if len(prediction[part]):
                metric.update(*(torch.tensor(masks[part]).long() for masks in (prediction, truth)))
        return metric.compute().item()

    return ask


def ask_sklearn(prediction: Masks, truth: Masks) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sklearn.exceptions.UndefinedMetricWarning)  # no object anywhere: it says 0, and so
        return float(sklearn.metrics.f1_score(truth.ravel(), prediction.ravel()))


def ask_nnunet(prediction: Masks, truth: Masks) -> float:
    """nnU-Net 2 is not installed: `compute_metrics` and `compute_metrics_on_folder`, written down."""
    scores = []
    for guess, true in zip(prediction, truth, strict=True):
        tp, fp, fn = (guess & true).sum(), (guess & ~true).sum(), (~guess & true).sum()
        scores.append(np.nan if tp + fp + fn == 0 else 2 * tp / (2 * tp + fp + fn))
    return float(np.nanmean(scores)) if not np.isnan(scores).all() else math.nan


def ask_lab(prediction: Masks, truth: Masks) -> float:
    axes = (1, 2)
    return float((2 * (prediction & truth).sum(axes) / (prediction.sum(axes) + truth.sum(axes) + 1e-6)).mean())


def ask_surface_distance(prediction: Masks, truth: Masks) -> float:
    means = []
    for guess, true in zip(prediction, truth, strict=True):
        with np.errstate(invalid="ignore"):
            both = surface_distance.compute_average_surface_distance(
                surface_distance.compute_surface_distances(true, guess, (1, 1))
            )
        if np.isfinite(both).all():
            means.append(np.mean(both))
    return float(np.mean(means)) if means else math.nan


def ask_fgbg(score_of: Callable[..., float]) -> Ask:
    return lambda prediction, truth: float(
        np.mean([score_of(count_pixels(guess, true)) for guess, true in zip(prediction, truth, strict=True)])
    )


object_only = {"num_classes": 2, "include_background": False, "input_format": "index"}
F1, IOU = smp.metrics.f1_score, smp.metrics.iou_score
ASK: dict[str, Ask] = {
    "fgbg.dice": ask_fgbg(dice_of),
    "fgbg.iou": ask_fgbg(iou_of),
    'segmentation_models_pytorch.metrics.f1_score(reduction="micro")': ask_smp(F1, reduction="micro"),
    'segmentation_models_pytorch.metrics.f1_score(reduction="micro-imagewise")': ask_smp(F1, reduction="micro-imagewise"),
    'segmentation_models_pytorch.metrics.f1_score(reduction="micro-imagewise", zero_division=0)': ask_smp(
        F1, reduction="micro-imagewise", zero_division=0
    ),
    'segmentation_models_pytorch.metrics.iou_score(reduction="micro")': ask_smp(IOU, reduction="micro"),
    'segmentation_models_pytorch.metrics.iou_score(reduction="micro-imagewise")': ask_smp(IOU, reduction="micro-imagewise"),
    'segmentation_models_pytorch.metrics.iou_score(reduction="micro-imagewise", zero_division=0)': ask_smp(
        IOU, reduction="micro-imagewise", zero_division=0
    ),
    "monai.metrics.DiceMetric()": ask_monai(),
    "monai.metrics.DiceMetric(include_background=False)": ask_monai(include_background=False),
    "monai.metrics.DiceMetric(include_background=False, ignore_empty=False)": ask_monai(
        include_background=False, ignore_empty=False
    ),
    'torchmetrics.segmentation.DiceScore(num_classes=2, input_format="index")': ask_torchmetrics(
        lambda: DiceScore(num_classes=2, input_format="index")
    ),
    'torchmetrics.segmentation.DiceScore(num_classes=2, include_background=False, input_format="index")': ask_torchmetrics(
        lambda: DiceScore(**object_only)
    ),
    "torchmetrics.segmentation.DiceScore(num_classes=2, include_background=False, "
    'aggregation_level="global", input_format="index")': ask_torchmetrics(
        lambda: DiceScore(**object_only, aggregation_level="global")
    ),
    "torchmetrics.classification.BinaryF1Score()": ask_torchmetrics(torchmetrics.classification.BinaryF1Score),
    "sklearn.metrics.f1_score(y_true, y_pred)": ask_sklearn,
    "nnunetv2.evaluation.evaluate_predictions.compute_metrics_on_folder(…)": ask_nnunet,
    "lab: 2I/(P+G+1e-6)": ask_lab,
    "surface_distance.compute_average_surface_distance(compute_surface_distances(truth, prediction, (1, 1)))": (
        ask_surface_distance
    ),
}


def score_rows(prediction: Masks, truth: Masks) -> list[ScoreRow]:
    rows = []
    for index, (guess, true) in enumerate(zip(prediction, truth, strict=True)):
        counts = count_pixels(guess, true)
        distances = contour_distances(guess, true)
        rows.append(
            ScoreRow(
                f"photo_{index}",
                *true.shape,
                **counts._asdict(),
                dice=dice_of(counts),
                iou=iou_of(counts),
                dice_at_size=dice_of(counts),
                contour_distance_from_truth=distances[0],
                contour_distance_from_prediction=distances[1],
            )
        )
    return rows


def values(rows: list[ScoreRow]) -> dict[str, float]:
    return {convention.name: convention.value for convention in reproduce_conventions(rows)}


def make_masks(count: int, seed: int) -> Masks:
    """Noise of every density, with photos that are empty or full among them."""
    random = np.random.default_rng(seed)
    density = random.choice([0, 0, 0.1, 0.5, 0.9, 1], (count, 1, 1))
    return random.random((count, 7, 6)) < density


def ten_photos() -> tuple[Masks, Masks]:
    """Five objects found with Dice 0.9 (90 px right, 10 invented, 10 missed), and five empty photos left empty."""
    truth, prediction = np.zeros((2, 10, 20, 20), bool)
    truth[:5, :10, :10] = prediction[:5, 1:11, :10] = True
    return prediction, truth


def test_every_convention_is_checked() -> None:
    assert set(ASK) == set(CONVENTIONS)


@settings(deadline=None, max_examples=60)
@given(count=st.integers(1, 6), seeds=st.tuples(st.integers(0, 9999), st.integers(0, 9999)))
def test_each_is_what_its_library_says(count: int, seeds: tuple[int, int]) -> None:
    prediction, truth = (make_masks(count, seed) for seed in seeds)
    reproduced = values(score_rows(prediction, truth))
    asked = {name: ask(prediction, truth) for name, ask in ASK.items()}
    for name in CONVENTIONS:
        assert reproduced[name] == pytest.approx(asked[name], abs=1e-6, nan_ok=True), name


@pytest.mark.parametrize(("predicted", "true"), [(False, False), (True, False), (False, True), (True, True)])
def test_each_is_what_its_library_says_where_all_photos_are_alike(predicted: bool, true: bool) -> None:
    prediction, truth = np.full((3, 4, 5), predicted), np.full((3, 4, 5), true)
    reproduced = values(score_rows(prediction, truth))
    for name, ask in ASK.items():
        assert reproduced[name] == pytest.approx(ask(prediction, truth), abs=1e-6, nan_ok=True), name


@pytest.mark.filterwarnings("ignore:DiceScore metric currently defaults:UserWarning")  # about the argument that we give
@pytest.mark.parametrize("average", ["micro", "macro", "weighted", "none"])
def test_with_one_class_torchmetrics_average_over_classes_is_nothing(average: str) -> None:
    prediction, truth = make_masks(8, 1), make_masks(8, 4)
    asked = ask_torchmetrics(lambda: DiceScore(**object_only, average=average))(prediction, truth)
    name = 'torchmetrics.segmentation.DiceScore(num_classes=2, include_background=False, input_format="index")'
    assert values(score_rows(prediction, truth))[name] == pytest.approx(asked, abs=1e-6)


def test_one_set_of_predictions_is_half_or_nearly_perfect() -> None:
    """Ten photos, five of them empty: 0.95, 0.90 or 0.45 for the same predictions."""
    found = values(score_rows(*ten_photos()))
    expected = {
        "fgbg.dice": 0.95,
        'segmentation_models_pytorch.metrics.f1_score(reduction="micro-imagewise")': 0.95,
        "monai.metrics.DiceMetric(include_background=False, ignore_empty=False)": 0.95,
        "monai.metrics.DiceMetric(include_background=False)": 0.90,
        "nnunetv2.evaluation.evaluate_predictions.compute_metrics_on_folder(…)": 0.90,
        "sklearn.metrics.f1_score(y_true, y_pred)": 0.90,
        "lab: 2I/(P+G+1e-6)": 0.45,
        'segmentation_models_pytorch.metrics.f1_score(reduction="micro-imagewise", zero_division=0)': 0.45,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-6)


def test_a_false_alarm_is_left_out_by_one_and_scores_0_with_the_others() -> None:
    prediction, truth = ten_photos()
    prediction[9, 0, 0] = True
    found = values(score_rows(prediction, truth))
    assert found["monai.metrics.DiceMetric(include_background=False)"] == pytest.approx(0.9)
    assert found["nnunetv2.evaluation.evaluate_predictions.compute_metrics_on_folder(…)"] == pytest.approx(5 * 0.9 / 6)
    assert found["fgbg.dice"] == pytest.approx((5 * 0.9 + 4) / 10)


def test_the_rows_own_dice_is_not_asked() -> None:
    """It depends on the user's rule for empty photos."""
    rows = score_rows(*ten_photos())
    assert values([replace(row, dice=math.nan, iou=math.nan) for row in rows]) == values(rows)


def test_the_table_says_it_all() -> None:
    text = describe_conventions(score_rows(*ten_photos()))
    first, *rest = text.splitlines()
    assert first == (
        "the same predictions, as each library would report them "
        "(10 photos; truth and prediction are both empty in 5, one of them in 0)"
    )
    assert rest[:2] == ["  0.9500      fgbg.dice", "              mean over photos; both empty scores 1"]
    assert len(rest) == 2 * len(CONVENTIONS)
    assert {len(line) - len(line[12:].lstrip()) for line in rest} == {14}, "names and remarks are one column"
    # A square's contour has four sides of 9 and four corners of √½. Moved down by 1, the upper side with its corners and the
    # lower side without them are 1 from the other contour, all else 0: 18 + 2√½ of 36 + 4√½.
    assert "  0.5000 px   surface_distance.compute_average_surface_distance" in text


def test_what_has_no_number_says_none() -> None:
    prediction, truth = np.zeros((2, 3, 4, 4), bool)
    text = describe_conventions(score_rows(prediction, truth))
    assert "  none px     surface_distance." in text
    assert "  0.0000      monai.metrics.DiceMetric(include_background=False)\n" in text


def test_no_photos_are_refused() -> None:
    with pytest.raises(UserError, match="0 photos were scored"):
        reproduce_conventions([])
