"""Slices by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from fgbg.judge.slices import TRAITS, Slice, slice_rows
from fgbg.rows import ScoreRow


def rows(count: int = 30, **traits: list[float]) -> list[ScoreRow]:
    made = []
    for index in range(count):
        row = ScoreRow(f"photo_{index:02}", 4, 4, 1, 0, 0, 15, dice=index / count, iou=0.5, dice_at_size=0.5)
        made.append(replace(row, **{name: values[index] for name, values in traits.items()}))
    return made


def of(slices: list[Slice], trait: str) -> dict[str, Slice]:
    return {each.value: each for each in slices if each.trait == trait}


def test_thirds_by_hand() -> None:
    slices = of(slice_rows(rows(object_share=[index / 100 for index in range(30)])), "object_share")
    assert list(slices) == ["low", "middle", "high"]
    assert [len(each.ids) for each in slices.values()] == [10, 10, 10]
    assert (slices["low"].low, slices["low"].high) == (0, 0.09)
    assert slices["high"].ids == tuple(f"photo_{index:02}" for index in range(20, 30))
    assert slices["low"].dice.mean == pytest.approx(np.mean(np.arange(10) / 30))
    assert slices["low"].dice.low < slices["low"].dice.mean < slices["low"].dice.high
    assert slices["low"][:3] == TRAITS[0] == ("object_share", "Object size", "share of the photo that is object")


def test_ties_stay_together() -> None:
    slices = of(slice_rows(rows(brightness=[0.1] * 18 + [0.2] * 6 + [0.3] * 6)), "brightness")
    for value in (0.1, 0.2, 0.3):
        assert sum(each.low <= value <= each.high for each in slices.values()) == 1


def test_touching_the_frame_is_yes_or_no() -> None:
    slices = of(slice_rows(rows(touches_frame=[1.0] * 12 + [0.0] * 18)), "touches_frame")
    assert {value: len(each.ids) for value, each in slices.items()} == {"no": 18, "yes": 12}
    assert math.isnan(slices["yes"].low)


def test_what_never_varies_or_is_unknown_makes_no_slices() -> None:
    assert slice_rows(rows()) == []
    assert slice_rows(rows(object_share=[0.2] * 30, touches_frame=[1.0] * 30)) == []


def test_photos_without_score_or_trait_are_left_out() -> None:
    made = rows(object_share=[math.nan] * 6 + [index / 100 for index in range(24)])
    made[6] = replace(made[6], dice=math.nan)
    slices = of(slice_rows(made), "object_share")
    assert sum(len(each.ids) for each in slices.values()) == 23


def test_the_users_columns_are_slices_too() -> None:
    made = [
        replace(
            row,
            metadata={"breed": "cat" if index < 20 else "dog" if index < 27 else "newt", "age": str(index), "file": row.id},
        )
        for index, row in enumerate(rows())
    ]
    slices = slice_rows(made)
    assert {value: len(each.ids) for value, each in of(slices, "breed").items()} == {
        "cat": 20,
        "dog": 7,
    }  # 3 newts are too few
    assert list(of(slices, "age")) == ["low", "middle", "high"]
    assert of(slices, "file") == {}


def test_few_numbers_are_taken_as_they_are() -> None:
    made = [replace(row, metadata={"tone_gap": f"{index % 3 / 2:.2f}"}) for index, row in enumerate(rows())]
    assert {value: len(each.ids) for value, each in of(slice_rows(made), "tone_gap").items()} == {
        "0.00": 10,
        "0.50": 10,
        "1.00": 10,
    }


def test_a_value_that_is_nan_is_none() -> None:
    made = [replace(row, metadata={"age": "NaN" if index % 3 == 0 else f"{index:d}"}) for index, row in enumerate(rows(60))]
    assert {value: len(each.ids) for value, each in of(slice_rows(made), "age").items()} == {
        "low": 14,
        "middle": 13,
        "high": 13,
    }


@pytest.mark.parametrize("word", ["-nan", "+NaN", " nan "])
def test_one_value_that_is_nan_in_another_spelling_costs_no_slices(word: str) -> None:
    made = [replace(row, metadata={"age": word if index == 7 else f"{index:d}"}) for index, row in enumerate(rows(60))]
    assert {value: len(each.ids) for value, each in of(slice_rows(made), "age").items()} == {
        "low": 20,
        "middle": 19,
        "high": 20,
    }


def test_groups_are_drawn_as_one() -> None:
    together = [replace(row, group=f"animal {index // 5}", touches_frame=index < 25) for index, row in enumerate(rows(50))]
    alone = [replace(row, group="") for row in together]
    wide, narrow = (of(slice_rows(made), "touches_frame")["yes"].dice for made in (together, alone))
    assert wide.mean == pytest.approx(narrow.mean)
    assert wide.high - wide.low > 1.2 * (narrow.high - narrow.low)


def test_a_slice_of_few_groups_is_left_out() -> None:
    few = [replace(row, group=f"animal {index // 7}", touches_frame=index < 25) for index, row in enumerate(rows(50))]
    assert not of(slice_rows(few), "touches_frame")
