"""What can be wrong with a data set: the kinds of problem, and what each means in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


class Kind(NamedTuple):
    """A kind of problem, in the words shown to the user."""

    title: str
    meaning: str
    cure: str
    is_fact: bool  # else "look at this": most of these are real problems, some are not


KINDS = {
    "corrupt": Kind(
        "Damaged files",
        "The file cannot be decoded, or only in part.",
        "Fetch it again, or leave it out.",
        True,
    ),
    "sub-folder": Kind(
        "Images in sub-folders",
        "Photos and masks are looked for in images/ and masks/ themselves, not in folders within.",
        "Move them up, with names of their own.",
        True,
    ),
    "several-pages": Kind(
        "Files of several pages",
        "The TIFF has further pages as large as the first, such as channels or slices of a stack.",
        "Save the page that counts as a file of its own.",
        True,
    ),
    "few-bits": Kind(
        "Photos that would be read too dark",
        "Their files have 16 bits, and all their values lie in the lower ones, of which little or nothing would be read.",
        "Multiply the values of all of them by the number named here, or save them with 8 bits if they are that dark.",
        True,
    ),
    "missing-mask": Kind(
        "Photos without a mask",
        "No mask has the photo's name.",
        "Add the mask, or fix its name.",
        True,
    ),
    "missing-image": Kind(
        "Masks and entries without a photo",
        "A mask, a list or a table names a photo that is not there.",
        "Add the photo, or take the mask or the entry away.",
        True,
    ),
    "size-mismatch": Kind(
        "Mask and photo differ in size",
        "The mask does not have the photo's width and height, so its pixels are not the photo's.",
        "Find out which of the two was resized or turned. Stretching one of them hides the fault.",
        True,
    ),
    "full-mask": Kind(
        "Masks without any ground",
        "Nothing in the mask is ground.",
        "Right if the object fills the photo; otherwise the label was lost.",
        True,
    ),
    "ambiguous-mask": Kind(
        "Masks that could mean several things",
        "The stored values or the names leave open what is object, or which mask belongs to which photo.",
        "Save these masks as the others are, or say with --object-values which values are object.",
        True,
    ),
    "ambiguous-group": Kind(
        "Groups that may be the same",
        "Groups in groups.csv differ only in case, and would be split apart.",
        "Write each group in one way.",
        True,
    ),
    "untrainable": Kind(
        "A set that cannot be trained on",
        "Training would refuse it: it needs photos to learn from and others to choose by, with object and ground in both.",
        "Add such photos, or cut the set in another way.",
        True,
    ),
    "few-grey-levels": Kind(
        "Photos that keep few grey levels",
        "Their files have 16 bits, of which the upper 8 are read, and nearly all of their values lie close together.",
        "Rescale all photos of the set by the same numbers, clip hot pixels and burnt-in bars, and save them again.",
        False,
    ),
    "class-as-band": Kind(
        "Trimaps that may be three classes",
        "The values 1, 2 and 3 are read as object, ground and the band between them, where 3 looks like a class.",
        "If it is one, say with --object-values which values are object.",
        False,
    ),
    "empty-mask": Kind(
        "Masks without any object",
        "Nothing in the mask is object.",
        "Right if the photo shows none; otherwise the label was lost.",
        False,
    ),
    "inverted-mask": Kind(
        "Object and ground look exchanged",
        "What is called object lies along most of the frame.",
        "Look at it. Exchange the two values if the mask is inverted.",
        False,
    ),
    "misaligned-mask": Kind(
        "Masks that fit better elsewhere",
        "The outline agrees clearly better with the photo's edges when the mask is mirrored or shifted.",
        "Look at both versions. A mirrored mask often means that one of the two files lost its EXIF orientation.",
        False,
    ),
    "duplicate": Kind(
        "The same photo twice",
        "The files hold the same pixels.",
        "Keep one; if their masks differ, keep the better one.",
        True,
    ),
    "near-duplicate": Kind(
        "Nearly the same photo twice",
        "One photo is the other resized, compressed again, mirrored or cut.",
        "Keep one, or give both the same group in groups.csv, so that they share a split.",
        False,
    ),
    "leak": Kind(
        "The same photo or group in two splits",
        "What is trained on is also judged on: the score comes out too good.",
        "Keep it in one split only.",
        True,
    ),
    "seen": Kind(
        "Photos that the run has seen",
        "They show the same picture as a photo that trained the model or chose its epoch: a score on them is too good.",
        "Leave them out of what judges that model.",
        True,
    ),
    "suspect-label": Kind(
        "Labels of a suspect shape",
        "The mask has far specks, a plain rectangle, or a straight edge where something was cut off.",
        "Look at it, and draw the label again where it is wrong.",
        False,
    ),
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with one or several files.

    `files` are paths below the data folder, none where the whole set is meant; `left_out` are the ids that a clean list
    leaves out because of it; `fit` says how a misaligned mask would fit: `(mirror, down, across)`, see
    `fgbg.doctor.alignment`.
    """

    kind: str
    files: tuple[str, ...]
    detail: str
    left_out: tuple[str, ...] = ()
    fit: tuple[str, float, float] | None = None

    def __post_init__(self) -> None:
        # A mask drawn from outlines has no file of its own and goes by its photo's, which should be listed once.
        object.__setattr__(self, "files", tuple(dict.fromkeys(self.files)))

    def to_json(self) -> dict[str, Any]:
        """The problem as plain values, for a program to read."""
        return {"kind": self.kind, "files": list(self.files), "detail": self.detail}
