"""What is known to be wrong with Oxford-IIIT Pet, with sources. Each fault is reported only if a copy of the set shows it.

- Files of another type named `.jpg`: `_CORRUPT_SAMPLES` of `oxford_iiit_pet_dataset_builder.py` in tensorflow/datasets
  (pull request 5349); those of mode P and RGBA are PNG or GIF. Pillow reads them all.
- JPEG files with stray bytes, which decoders warn about: beagle_116 and chihuahua_121 (lars76/object-localization issue 8,
  tensorflow/models issue 3134).
- Trimaps with nothing but ground, and trimaps with next to no object: lists of ids that several public loaders of the set
  leave out. They could not be verified; a mask is noted only if the audit itself finds it empty or suspect.
- Photos in neither list: 7,390 photos and 7,349 entries. Abyssinian_82 was verified; the ids of all 41 are in
  public audits of the archive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from fgbg.doctor.problems import Problem

OTHER_TYPE = frozenset(
    "Abyssinian_5 Abyssinian_34 Egyptian_Mau_14 Egyptian_Mau_139 Egyptian_Mau_145 Egyptian_Mau_156 Egyptian_Mau_167 "
    "Egyptian_Mau_177 Egyptian_Mau_186 Egyptian_Mau_191".split()
)
STRAY_BYTES = frozenset({"beagle_116", "chihuahua_121"})
EMPTY_TRIMAPS = frozenset(
    "Egyptian_Mau_162 Egyptian_Mau_165 Egyptian_Mau_196 leonberger_18 miniature_pinscher_14 saint_bernard_15 "
    "saint_bernard_108".split()
)
SUSPECT_TRIMAPS = frozenset(
    "Egyptian_Mau_20 Persian_259 japanese_chin_199 keeshond_7 saint_bernard_60 saint_bernard_78 wheaten_terrier_195".split()
)
UNLISTED = frozenset(
    "Abyssinian_34 Abyssinian_82 Bombay_11 Bombay_189 Bombay_190 Bombay_192 Bombay_203 Bombay_206 Bombay_209 "
    "Bombay_210 Bombay_217 Bombay_22 Bombay_220 Bombay_32 Bombay_69 Bombay_85 Bombay_92 Bombay_99 Egyptian_Mau_129 "
    "Egyptian_Mau_139 Egyptian_Mau_145 Egyptian_Mau_167 Egyptian_Mau_177 Egyptian_Mau_183 Egyptian_Mau_191 "
    "Egyptian_Mau_202 Egyptian_Mau_41 Egyptian_Mau_71 Siamese_203 boxer_82 english_cocker_spaniel_162 "
    "english_cocker_spaniel_163 english_cocker_spaniel_164 english_cocker_spaniel_179 keeshond_59 newfoundland_152 "
    "newfoundland_153 newfoundland_154 newfoundland_155 staffordshire_bull_terrier_2 staffordshire_bull_terrier_22".split()
)
NOTES = {
    "empty-mask": (EMPTY_TRIMAPS | SUSPECT_TRIMAPS, "a known fault of Oxford-IIIT Pet: other loaders leave this trimap out"),
    "suspect-label": (EMPTY_TRIMAPS | SUSPECT_TRIMAPS, "a known suspect of Oxford-IIIT Pet"),
    "corrupt": (OTHER_TYPE | STRAY_BYTES, "a known fault of Oxford-IIIT Pet: other decoders fail on it too"),
}


def note_known(problems: Sequence[Problem]) -> list[Problem]:
    """The problems of a copy of Oxford-IIIT Pet, with a note on those that are known."""
    return [_note(problem) for problem in problems]


def _note(problem: Problem) -> Problem:
    known, note = NOTES.get(problem.kind, (frozenset(), ""))
    is_known = any(file.rpartition("/")[2].rpartition(".")[0] in known for file in problem.files)
    return replace(problem, detail=f"{problem.detail} ({note})") if is_known else problem


def remark_on_types(wrong_types: Mapping[str, str], *, is_oxford: bool) -> list[str]:
    """A sentence about files whose content is of another type than their name says.

    Args:
        wrong_types: Type of the content, by id.
        is_oxford: Whether the set is a copy of Oxford-IIIT Pet.
    """
    if not wrong_types:
        return []
    names = ", ".join(f"{name} ({kind})" for name, kind in sorted(wrong_types.items())[:12])
    more = f" and {len(wrong_types) - 12} more" if len(wrong_types) > 12 else ""
    known = sum(name in OTHER_TYPE for name in wrong_types) if is_oxford else 0
    note = f"; {known} of them are known faults of Oxford-IIIT Pet" if known else ""
    return [f"of another type than the name says, and read all the same: {names}{more}{note}"]


def remark_on_unlisted(unlisted: Sequence[str]) -> list[str]:
    """A sentence about photos in neither list of a copy of Oxford-IIIT Pet."""
    known = sum(name in UNLISTED for name in unlisted)
    if not known:
        return []
    belong = "1 belongs" if known == 1 else f"{known} belong"
    return [f"of the photos on no list, {belong} to the 41 that the lists of Oxford-IIIT Pet are known to lack"]
