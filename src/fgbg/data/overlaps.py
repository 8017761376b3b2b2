"""Photos that are in two splits: byte for byte, by their group, or as copies that were saved anew."""

from __future__ import annotations

from typing import NamedTuple

from fgbg.data.parallel import ShowProgress
from fgbg.data.samples import SPLITS, Sample, SampleSet
from fgbg.errors import UserError
from fgbg.words import name_some

MOST_SEARCHED = 5_000  # photos: comparing each with each takes seconds up to here, and minutes soon after


class Overlap(NamedTuple):
    """Two samples that are in different splits although they show the same photo, or belong together."""

    first: Sample
    second: Sample

    def describe(self) -> str:
        """Both with their splits: `a (train) and b (test)`."""
        return f"{self.first.id} ({self.first.split}) and {self.second.id} ({self.second.split})"


def find_overlaps(samples: SampleSet) -> list[Overlap]:
    """Samples of different splits with the same photo, byte for byte, or of the same group: one pair per two splits."""
    first_of: dict[str, dict[str, Sample]] = {}
    overlaps: dict[tuple[str, str], Overlap] = {}  # by their ids: a pair may share both photo and group
    for sample, look in zip(samples.samples, samples.inspections, strict=True):
        for key in filter(None, (look.image_hash, sample.group and f"group {sample.group}")):
            known = first_of.setdefault(key, {})
            if sample.split not in known:
                overlaps |= {(other.id, sample.id): Overlap(other, sample) for other in known.values()}
                known[sample.split] = sample
    return list(overlaps.values())


def refuse_overlaps(samples: SampleSet) -> None:
    """Refuse overlapping splits: a model that has seen its test photos is scored on what it remembers.

    Raises:
        UserError: The same photo, byte for byte, or photos of one group are in different splits.
    """
    overlaps = find_overlaps(samples)
    if overlaps:
        told = [overlap.describe() for overlap in overlaps]
        raise UserError(
            f"splits overlap: {name_some(told, 3)} are the same photo, byte for byte, or of one group; take one of each "
            "out, or go on with --allow-overlap, which every score of the model will tell"
        )


def find_near_overlaps(samples: SampleSet, progress: ShowProgress | None = None) -> list[Overlap] | None:
    """Samples whose photo shows the same picture as one of an earlier split: resized, saved anew, mirrored or cropped.

    Earlier, in the order train, validation, test, is the pair's first. Photos that are the same byte for byte are left to
    `find_overlaps`.

    Args:
        samples: All splits.
        progress: Shows how far the search is.

    Returns:
        One pair for each such sample; None for more than MOST_SEARCHED photos, which are not compared.

    Raises:
        UserError: A photo cannot be decoded.
    """
    if len(samples.samples) > MOST_SEARCHED:
        return None
    # Imported here, since everything that reads a run folder imports this module and needs no SciPy.
    from fgbg.data.duplicates import cluster_pairs, find_near_duplicates, fingerprint_samples

    pairs = find_near_duplicates(fingerprint_samples(samples, progress), progress=progress)
    clusters = cluster_pairs(len(samples.samples), pairs).tolist()
    copied = {clusters[pair.first] for pair in pairs}
    first_of: dict[int, list[int]] = {}  # of each cluster, the first sample of each split so far
    overlaps = []
    for index in sorted(range(len(clusters)), key=lambda index: SPLITS.index(samples.samples[index].split)):
        if clusters[index] not in copied:
            continue
        sample, known = samples.samples[index], first_of.setdefault(clusters[index], [])
        digest = samples.inspections[index].image_hash
        earlier = [first for first in known if samples.samples[first].split != sample.split]
        saved_anew = [first for first in earlier if samples.inspections[first].image_hash != digest]
        if saved_anew:
            overlaps.append(Overlap(samples.samples[saved_anew[0]], sample))
        if len(earlier) == len(known):
            known.append(index)
    return overlaps
