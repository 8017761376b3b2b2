"""From the values in mask files to levels (0 ground, 1 object, 2 band), and from levels to a target.

Most masks store 0 and 255, others 0 and 1, trimaps 1, 2 and 3; a single file cannot tell (1 and 2 may be a trimap without a
band, or two classes). So the encoding is decided once for the whole set, and never guessed. Files of a set may differ if
they cannot contradict each other: white is 255 in a 1-bit picture as in a grey one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fgbg.data.mask_files import ALPHA, EMPTY, GREY, LARGE, StoredMask
from fgbg.errors import UserError
from fgbg.words import BAND, GROUND, NOT_JUDGED, OBJECT, Border, ObjectValue

UNKNOWN = 254  # marks a value that the encoding does not know; never leaves this module

NEAR_BINARY_TOLERANCE = 48  # JPEG turns 0/255 into 0..48 and 207..255 near edges
NEAR_BINARY_SHARE = 0.98
FEWEST_NUMBERED = 3  # values beside 0 from which on they may number objects
NOISE_PEAK = 9  # most noise is in this many values next to 0 or 255
EVEN_SPREAD = 16  # a 7 × 7 square of values this close together is even: at edges blur and compression leave none


@dataclass(frozen=True)
class MaskEncoding:
    """Which stored values mean object, ground or band."""

    name: str
    object_values: tuple[int, ...]
    ground_values: tuple[int, ...]
    band_values: tuple[int, ...] = ()
    told_values: tuple[ObjectValue, ...] = ()  # what a user said is object, unless the values mean just that by themselves

    @property
    def has_band(self) -> bool:
        """Whether some value means the ambiguity band."""
        return bool(self.band_values)

    def read_levels(self, values: NDArray[np.uint8], *, name: str = "mask") -> NDArray[np.uint8]:
        """Levels of one mask, same shape.

        Raises:
            UserError: The mask holds a value that the set's encoding does not know.

        >>> TRIMAP.read_levels(np.array([[1, 2, 3]], np.uint8))
        array([[1, 0, 2]], dtype=uint8)
        """
        levels = _lookup({GROUND: self.ground_values, OBJECT: self.object_values, BAND: self.band_values})[values]
        if (levels == UNKNOWN).any():
            strange = sorted({int(value) for value in np.unique(values[levels == UNKNOWN])})
            raise UserError(f"{name} holds the values {strange}, unlike the rest of the set ({self.name})")
        return levels

    def check_values(self, histogram: NDArray[np.int64], *, even_grey: int = 0, name: str) -> None:
        """Refuse a mask, given by its (256,) pixel counts and `find_even_grey`, that this encoding would misread.

        Raises:
            UserError: It holds values that the encoding does not know, or, in a set blurred by compression, class numbers
                or areas of an even grey.
        """
        values = np.flatnonzero(histogram).tolist()
        self.read_levels(np.array([values], np.uint8), name=name)
        if self == NEAR_BINARY and 0 < max(values, default=0) < 128:  # 0/1 masks among JPEGs would read as empty
            raise UserError(
                f"{name} holds {say_values(values)} and nothing of 128 and more, unlike the rest of the set ({self.name}): "
                "save it with 0 and 255"
            )
        if self == NEAR_BINARY and even_grey:
            raise UserError(
                f"{name} {say_even_grey(even_grey)}, which blurred edges do not have: save it as PNG with 0 and 255, or, if "
                "the grey is a class of its own, all masks as PNG with a value for each class"
            )


TRIMAP = MaskEncoding("trimap: object = 1, ground = 2, band = 3", (1,), (2,), (3,))
ZERO_ONE = MaskEncoding("values {0, 1}: object = 1", (1,), (0,))
ZERO_255 = MaskEncoding("values {0, 255}: object = 255", (255,), (0,))
NEAR_BINARY = MaskEncoding(
    "nearly {0, 255}, blurred by compression: object = 128 and more", tuple(range(128, 256)), tuple(range(128))
)
NONZERO = MaskEncoding("as told: object = all but 0", tuple(range(1, 256)), (0,), told_values=("nonzero",))


def understand_masks(
    histogram: NDArray[np.int64], object_values: Iterable[ObjectValue] = (), *, large: str = ""
) -> MaskEncoding:
    """Decide the encoding of a whole set from its pixel counts.

    Args:
        histogram: (256,) how many pixels of the set hold each value.
        object_values: Values that the user says are object, or `nonzero`; all others are then ground. Where that is what the
            values mean by themselves, it makes no difference.
        large: A mask of the set that holds values over 255, if any does: they are only understood as `nonzero`.

    Raises:
        UserError: The values fit no known encoding; the sentence names the flag that settles it.
    """
    values = np.flatnonzero(histogram).tolist()
    told = set(object_values)
    if "nonzero" in told:
        return NONZERO if large else _take_nonzero(histogram, values)
    if large:
        raise UserError(
            f"{large} holds {LARGE}: say --object-values nonzero if every value but 0 is object, or save all as 8-bit grey "
            "with two values, such as 0 and 255"
        )
    wanted = tuple(sorted(map(int, told)))
    if wanted:
        absent = [value for value in wanted if value not in values]
        if absent:
            raise UserError(f"--object-values {absent[0]}: no mask holds it, the set holds {say_values(values)}")
        if (usual := _recognise(histogram, values)) and usual.object_values == wanted and not usual.band_values:
            return usual
        ground = tuple(value for value in range(256) if value not in wanted)
        held = [value for value in values if value in ground]
        others = f"; ground = {say_values(held)}" if len(held) > 1 else ""
        name = f"as told: object = {', '.join(map(str, wanted))}{others}"
        return MaskEncoding(name, wanted, ground, told_values=wanted)
    if usual := _recognise(histogram, values):
        return usual
    raise UserError(f"the masks hold the values {say_values(values)}, {_advise(values)}")


def _take_nonzero(histogram: NDArray[np.int64], values: Sequence[int]) -> MaskEncoding:
    """Every value but 0 is object, as a user says; what the values mean by themselves, if it is the same.

    Raises:
        UserError: They were blurred by compression.
    """
    usual = _recognise(histogram, values)
    if usual == NEAR_BINARY:
        raise UserError(
            f"--object-values nonzero: the masks hold {usual.name}, and values next to 0 are noise: leave it out"
        )
    return usual if usual in (ZERO_ONE, ZERO_255) else NONZERO


def _recognise(histogram: NDArray[np.int64], values: Sequence[int]) -> MaskEncoding | None:
    """What the values of a set mean by themselves; None if that is not known."""
    if set(values) <= {0, 1}:
        return ZERO_ONE
    if set(values) <= {0, 255}:
        return ZERO_255
    if set(values) == {1, 2, 3}:
        return TRIMAP
    return NEAR_BINARY if _is_near_binary(histogram) else None


def _advise(values: Sequence[int]) -> str:
    """What is unclear about the values of a set, and the flag that settles it."""
    if list(values) == [0, 1, 255]:
        return (
            "files of 0/1 mixed with files of 0/255, or 255 for 'void': say --object-values 1 255 where both are object or "
            "--object-values 1 where 255 is ground; for void that is not judged, save trimaps (1 object, 2 ground, 3 void) "
            "and say --border ignore"
        )
    if list(values) == [1, 2]:
        return "trimaps without a band or two classes: say --object-values 1 or --object-values 2"
    named = [value for value in values if value]
    hint = ""
    if len(named) > 1 and named[-1] == 255 and named[-2] < 128:
        named.pop()
        hint = "; 255, often 'void', counts as ground unless it is named"
    elif 0 in values and len(named) >= FEWEST_NUMBERED:
        hint = "; if each number is one object of several, say --object-values nonzero"
    several = f" or, for several, --object-values {named[-2]} {named[-1]}" if 1 < len(named) < len(values) else ""
    advice = f"say which are object, for example --object-values {named[-1]}{several}{hint}"
    return f"which fit neither 0/1, 0/255 nor a trimap 1/2/3: {advice}"


def check_places(places: Mapping[str, str]) -> None:
    """Refuse a set whose files may store their masks in contradictory ways.

    Args:
        places: Way of storing a mask (`StoredMask.place`, `EMPTY` for grey values that are all 0) -> a mask stored that way.

    Raises:
        UserError: Alpha channels beside anything else (which may be opaque all over); two of palette indices, a palette's
            black and white, a colour, another colour; or a colour beside white.
    """
    special = [place for place in places if place not in (GREY, LARGE, EMPTY)]
    beside = [place for place in places if place in (GREY, LARGE) or (place == EMPTY and ALPHA in special)]
    excludes_grey = any(place == ALPHA or place.startswith("RGB") for place in special)
    if len(special) > 1 or (excludes_grey and beside):
        one, other = [*special, *beside][:2]
        raise UserError(
            f"the masks may store the object in two ways, as {one} ({places[one]}) and as {other} ({places[other]}): "
            "save all as 8-bit grey with two values, such as 0 and 255"
        )


def _is_near_binary(histogram: NDArray[np.int64]) -> bool:
    """Whether a 0/255 set was blurred by compression: unlike classes, noise thins out away from 0 and 255."""
    low, high = histogram[:128], histogram[:127:-1]  # from 0 upwards, and from 255 downwards
    near = low[: NEAR_BINARY_TOLERANCE + 1].sum() + high[: NEAR_BINARY_TOLERANCE + 1].sum()
    noisy = all((half > 0).sum() >= 3 and 2 * half[:NOISE_PEAK].sum() > half.sum() for half in (low, high))
    return bool(noisy and near >= NEAR_BINARY_SHARE * histogram.sum())


def count_values(stored: StoredMask) -> tuple[NDArray[np.int64], str, int]:
    """The (256,) pixel counts of one mask, how its values are stored, and `find_even_grey`.

    Grey values that are all 0 are `EMPTY`: they do not tell how the set's other masks store the object.
    """
    histogram = np.bincount(stored.values.ravel(), minlength=256)
    place = stored.place if stored.place != GREY or histogram[1:].any() else EMPTY
    return histogram, place, find_even_grey(stored.values)


def find_even_grey(values: NDArray[np.uint8]) -> int:
    """The grey of areas that are neither black nor white, and too even for an edge, however blurred; 0 if there are none.

    A set of 0 and 255 that was blurred by compression has grey pixels only where its edges are; a third class has areas.

    >>> find_even_grey(np.pad(np.full((9, 9), 128, np.uint8), 8))
    128
    """
    lowest, highest = NEAR_BINARY_TOLERANCE, 255 - NEAR_BINARY_TOLERANCE
    if not ((values > lowest) & (values < highest)).any():
        return 0
    least, most = (_slide(values, pick) for pick in (np.minimum, np.maximum))
    spread = most - least
    even = (least > lowest) & (most < highest) & (spread <= EVEN_SPREAD)
    return int(np.median((least + spread // 2)[even])) if even.any() else 0


def _slide(values: NDArray[np.uint8], pick: np.ufunc) -> NDArray[np.uint8]:
    """The least or greatest value of each 7 × 7 square that lies in the mask."""
    for step in (1, 2, 3):  # squares of 2, 4 and 7
        values = pick(values[:-step], values[step:])
        values = pick(values[:, :-step], values[:, step:])
    return values


def say_even_grey(grey: int) -> str:
    """What is unclear about a mask with areas of such a grey."""
    return f"has areas of an even grey, about {grey}, between its 0 and 255"


def apply_border(levels: NDArray[np.uint8], border: Border) -> NDArray[np.uint8]:
    """Turn levels into a target of the same shape: 0 ground, 1 object, 255 not judged (already 255: stays).

    >>> apply_border(np.array([[0, 1, 2, 255]], np.uint8), "ignore")
    array([[  0,   1, 255, 255]], dtype=uint8)
    """
    return border_lookup(border)[levels]


def border_lookup(border: Border) -> NDArray[np.uint8]:
    """(256,) the target value of each level."""
    band = {"foreground": OBJECT, "background": GROUND, "ignore": NOT_JUDGED}[border]
    lookup = np.full(256, NOT_JUDGED, np.uint8)
    lookup[[GROUND, OBJECT, BAND]] = GROUND, OBJECT, band
    return lookup


def check_border(border: Border, encoding: MaskEncoding) -> None:
    """Refuse a border rule other than the default for masks without a band.

    Raises:
        UserError: There is no band that the rule could apply to.
    """
    if border != "foreground" and not encoding.has_band:
        raise UserError(f"--border {border} needs masks with an ambiguity band; these have none ({encoding.name})")


def _lookup(levels: dict[int, tuple[int, ...]]) -> NDArray[np.uint8]:
    lookup = np.full(256, UNKNOWN, np.uint8)
    for level, values in levels.items():
        lookup[list(values)] = level
    return lookup


def say_values(values: Sequence[int]) -> str:
    """The values as a set to print, or the first six and how many there are in all."""
    shown = ", ".join(map(str, values[:6]))
    return f"{{{shown}, … {len(values)} in all}}" if len(values) > 6 else f"{{{shown}}}"
