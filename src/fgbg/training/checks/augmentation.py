"""Does the augmentation turn photos and masks into something fit to learn from?"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from fgbg.data.augment import PairedAugmentation
from fgbg.training.checks.draws import Draw
from fgbg.training.checks.finding import Finding, doubted, failed, passed
from fgbg.words import GROUND, NOT_JUDGED, OBJECT

SAME = 1e-3  # mean difference, as a share of contrast, up to which images are the same
LEAST_AGREEMENT = 0.5  # correlation of the mask given as a photo with the mask; about 0.9 if augmented together
STRAY_SHARE = 0.1  # share of draws that may agree less: erased, or zoomed beyond recognition
LEAST_JUDGED = 0.05  # share of an image below which it is not assessed
LEAST_CONTRAST = 1e-3
RARE = 0.05  # share of the pixels that are object up to which crops may miss them all
ENOUGH_PAIRS = 12  # images that could differ from the first of their batch; fewer may flip alike by chance
FAR = 8  # pixels of the thumbnails that are compared


def check_targets(draws: Sequence[Draw], unjudged: Tensor) -> Finding:
    """Targets hold only 0, 1 and 255, no interpolated values, and still the object.

    Args:
        draws: Of the training photos.
        unjudged: What the augmentation made of a target of 0 and 255.
    """
    name = "targets"
    strange = _find_strange(torch.cat([draw.target for draw in draws]))
    blended = _find_strange(unjudged)
    if strange or blended:
        sentence = (
            f"targets hold {_list(strange or blended)} after augmentation: they should hold 0, 1 and 255 alone, so the mask "
            "was probably resized bilinearly, or scaled (use nearest neighbour for masks)"
        )
        return failed(name, sentence) if strange else doubted(name, sentence + "; here it shows in what is not judged")
    shares = {value: _share(draws, value) for value in (OBJECT, NOT_JUDGED)}
    made, lost = shares[OBJECT]
    if made > 0 and lost == 0 and _takes_object_for_unjudged(draws, made):
        return failed(
            name,
            f"the masks are object in {made:.0%} of their pixels and in none after augmentation, where "
            f"{shares[NOT_JUDGED][1]:.0%} is 255: object must be 1, and 255 means not judged (ignore), "
            "so a 0/255 mask was probably taken for a target",
        )
    if shares[NOT_JUDGED][1] == 1:
        return failed(
            name, "every pixel of the targets is 255 (not judged) after augmentation: there is nothing to learn from"
        )
    return passed(name, f"0, 1 and 255 alone; {lost:.0%} object, {shares[NOT_JUDGED][1]:.0%} not judged")


def _takes_object_for_unjudged(draws: Sequence[Draw], made: float) -> bool:
    """Whether no object is left of a mask that is half object. Of small objects crops may show none, in all draws.

    Pictures of an augmentation's own tell nothing about that mask: there, much object has to be gone.
    """
    if _shows_its_own(draws):
        return made > RARE
    known = torch.cat([draw.mask_target for draw in draws])
    return bool((known == NOT_JUDGED).any()) and not bool((known == OBJECT).any())


def _shows_its_own(draws: Sequence[Draw]) -> bool:
    """Whether the augmentation shows the same images, whatever it is given."""
    return all(_looks_like(draw.mask_image, draw.image) for draw in draws)


def _share(draws: Sequence[Draw], value: int) -> tuple[float, float]:
    """Share of the pixels with that target, (as stored, as augmented)."""
    stored, seen = (torch.cat(targets) for targets in zip(*((d.stored_target, d.target) for d in draws), strict=True))
    return (stored == value).float().mean().item(), (seen == value).float().mean().item()


def _find_strange(target: Tensor) -> list[float]:
    return [value for value in target.unique().tolist() if value not in (GROUND, OBJECT, NOT_JUDGED)]


def _list(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values[:4]) + (", …" if len(values) > 4 else "")


def check_pairs(draws: Sequence[Draw]) -> Finding:
    """A picture of the mask, augmented as a photo, still matches the augmented mask."""
    name = "image and mask"
    if _shows_its_own(draws):
        return passed(name, "not probed: the augmentation shows pictures of its own, whatever it is given")
    image, target = torch.cat([draw.mask_image for draw in draws]), torch.cat([draw.mask_target for draw in draws])
    agreement = _measure_agreement(image, target)
    told = agreement[agreement.isfinite()]
    if not len(told):
        return passed(name, "not probed: too little of a picture is left after augmentation")
    if (told < -LEAST_AGREEMENT).all():
        return failed(
            name, "object and ground change places in augmentation: the target is inverted (or every image a negative)"
        )
    apart = agreement.abs() < LEAST_AGREEMENT
    count = int(apart.sum())
    if count <= STRAY_SHARE * len(told):
        return passed(name, f"a mask given as the photo agrees with its mask (median correlation {told.median():.2f})")
    return failed(
        name,
        f"a picture of the mask, augmented as the photo, does not lie over the augmented mask in {count} of {len(told)} "
        f"draws: {_explain_apart(draws, image[apart], target[apart])}, where one draw must move both",
    )


def _explain_apart(draws: Sequence[Draw], image: Tensor, target: Tensor) -> str:
    """The likely cause, found by trial."""
    if all(_shows_stored(draw) for draw in draws):
        return "the mask is augmented and the image is not (is the augmented image thrown away?)"
    flipped = [_measure_agreement(image, target.flip(axes)).abs().nan_to_num() for axes in ((-1,), (-2,), (-2, -1))]
    explained = torch.stack(flipped).amax(0) >= LEAST_AGREEMENT
    if explained.float().mean() > 0.5:
        return "flips are drawn separately for image and mask"
    return "image and mask are cropped, turned or shifted by separate draws"


def _measure_agreement(image: Float[Tensor, "batch 3 size size"], target: Tensor) -> Float[Tensor, " batch"]:
    """Correlation of brightness with object over the judged pixels; NaN where there is too little to tell."""
    judged = (target != NOT_JUDGED).float()
    grey, truth = image.float().mean(1), (target == OBJECT).float()
    count = judged.sum((1, 2)).clamp(min=1)

    def centre(values: Tensor) -> Tensor:
        return (values - ((values * judged).sum((1, 2)) / count)[:, None, None]) * judged

    grey, truth = centre(grey), centre(truth)
    spread = [(values.square().sum((1, 2)) / count).sqrt() for values in (grey, truth)]
    correlation = (grey * truth).sum((1, 2)) / count / (spread[0] * spread[1]).clamp(min=1e-12)
    unclear = (judged.mean((1, 2)) < LEAST_JUDGED) | (spread[0] < LEAST_CONTRAST) | (spread[1] < LEAST_JUDGED)
    return correlation.masked_fill(unclear, torch.nan)


def check_change(draws: Sequence[Draw], augment: object) -> Finding:
    """A photo is augmented differently in each epoch, and the network gets the result."""
    name = "augmentation changes"
    if is_switched_off(augment):
        return passed(name, "augmentation is switched off")
    if len(draws) == 1:
        return passed(name, "one epoch only")
    if not all(_looks_like(draw.image, draws[0].image) for draw in draws):
        return passed(name, f"photos look different in epoch {draws[1].epoch} than in epoch 1")
    if all(_is_flat(draw.pixels) for draw in draws):
        return passed(name, "not probed: the photos are of one colour")
    epochs = f"epochs 1 to {draws[-1].epoch}"
    if _shows_stored(draws[0]):
        return doubted(
            name,
            f"the network is shown the photos as they are stored in {epochs}: the augmentation does nothing, "
            "or the augmented image is computed and thrown away",
        )
    return doubted(
        name,
        f"the augmentation shows each photo the same way in {epochs}: it should draw anew in every epoch, "
        "so it was probably applied once at loading and kept (frozen)",
    )


def check_differences(draws: Sequence[Draw], augment: object) -> Finding:
    """Photos of one batch are not all augmented alike. Every row of a draw was given the same picture."""
    name = "augmentation differs"
    pictures = [draw.mask_image for draw in draws if len(draw.mask_image) > 1 and not _looks_like(*_pair_up(draws, draw))]
    if is_switched_off(augment) or sum(len(picture) - 1 for picture in pictures) < ENOUGH_PAIRS:
        return passed(name, "not probed: nothing changes here, or batches are of one image")
    if all(_looks_like(picture, picture[:1].expand_as(picture)) for picture in pictures):
        return doubted(
            name, "all images of a batch are augmented in the same way: each should get a draw of its own, by its row"
        )
    return passed(name, "images of one batch are augmented in different ways")


def _pair_up(draws: Sequence[Draw], draw: Draw) -> tuple[Tensor, Tensor]:
    """The known picture as augmented in one draw, and in another epoch's."""
    other = draws[0] if draw is not draws[0] else draws[-1]
    return draw.mask_image, other.mask_image


def check_range(draws: Sequence[Draw]) -> Finding:
    """Images are in 0..1 after augmentation."""
    name = "value range"
    image, pixels = torch.cat([draw.image for draw in draws]).float(), torch.cat([draw.pixels for draw in draws]).float()
    low, high, brightest = image.min().item(), image.max().item(), pixels.max().item() / 255
    told = f"images are {low:.3g} to {high:.3g} before normalisation, where they should be 0 to 1"
    if not image.isfinite().all():
        return failed(name, f"{told}: some values are not finite")
    if high > 2 and high > brightest * 20:
        return failed(name, f"{told}: not divided by 255 at all")
    if low < -0.5 or high > 2:
        return failed(name, f"{told}: probably normalised already, and the predictor would do it a second time")
    if brightest > 0 and high < brightest / 100:
        return failed(name, f"{told}, and the stored photos reach {brightest:.2f}: probably divided by 255 twice")
    return passed(name, f"images are {low:.2f} to {high:.2f} before normalisation")


def is_switched_off(augment: object) -> bool:
    """Whether this is the built-in augmentation with nothing to do."""
    return isinstance(augment, PairedAugmentation) and not augment.ranges.changes_photos  # photos are mixed after it


def _shows_stored(draw: Draw) -> bool:
    """Whether the photos come out as they are stored, apart from resizing: compared as small thumbnails."""
    seen, stored = (F.adaptive_avg_pool2d(image.float(), FAR) for image in (draw.image, draw.pixels.float() / 255))
    return bool((seen - stored).abs().mean() < 0.1 * stored.std())


def _looks_like(first: Tensor, second: Tensor) -> bool:
    """Whether two batches show the same images."""
    if first.shape != second.shape:
        return False
    return bool((first.float() - second.float()).abs().mean() <= SAME * second.float().std())


def _is_flat(pixels: Tensor) -> bool:
    return bool((pixels.float().std((2, 3)) < 1).all())
