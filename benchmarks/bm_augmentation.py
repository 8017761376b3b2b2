"""Batched paired augmentation against the same list of augmentations image by image.

    python benchmarks/bm_augmentation.py

One thread each, from stored photos of 320 px to normalised images and targets of 256 px: flip, random resized crop,
rotation + shift + scale, brightness + contrast + saturation + hue, normalisation. Alternatives: torchvision's v2 transforms
on tensors, the lab report's chain on PIL images, and kornia (where it is installed), which takes whole batches too. Target:
at least 3 × the first and 2 × the second.
"""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torchvision import transforms, tv_tensors
from torchvision.transforms import functional as TF
from torchvision.transforms import v2

from fgbg.data.augment import PairedAugmentation
from fgbg.data.augment_ranges import AugmentRanges
from fgbg.memory import keeping_memory
from fgbg.words import IMAGENET_DEVIATION, IMAGENET_MEAN
from timing import describe_machine, images_per_second, ratio

STORED, SIZE, BATCH, ROUNDS = 320, 256, 32, 7


def make_batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Smooth random photos with a disc each: (batch, 3, stored, stored) and (batch, stored, stored)."""
    rng = np.random.default_rng(0)
    coarse = torch.tensor(rng.random((BATCH, 3, 20, 20)), dtype=torch.float32)
    pixels = torch.nn.functional.interpolate(coarse, (STORED, STORED), mode="bilinear") * 255
    y, x = np.mgrid[:STORED, :STORED]
    disc = np.hypot(x - STORED / 2, y - STORED / 2) < STORED / 4
    return pixels.to(torch.uint8), torch.tensor(disc, dtype=torch.uint8).expand(BATCH, -1, -1).contiguous()


def batched(pixels: torch.Tensor, target: torch.Tensor) -> Callable[[], int]:
    augment = PairedAugmentation(AugmentRanges(), np.ones(BATCH), size=SIZE, seed=0, device=torch.device("cpu"))
    rows = torch.arange(BATCH)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    epochs = iter(range(1, 10_000))

    def work() -> int:
        image, _ = augment(pixels, target, rows, next(epochs))
        _ = (image - mean) / deviation
        return BATCH

    return work


def torchvision_tensors(pixels: torch.Tensor, target: torch.Tensor) -> Callable[[], int]:
    chain = v2.Compose(
        [
            v2.RandomHorizontalFlip(),
            v2.RandomResizedCrop(SIZE, scale=(0.8, 1.0), ratio=(3 / 4, 4 / 3), antialias=True),
            v2.RandomAffine(30, translate=(0.2, 0.2), scale=(0.8, 1.2), interpolation=v2.InterpolationMode.BILINEAR),
            v2.ColorJitter(0.2, 0.2, 0.2, 0.2),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_DEVIATION),
        ]
    )
    pairs = [(tv_tensors.Image(photo), tv_tensors.Mask(mask)) for photo, mask in zip(pixels, target, strict=True)]

    def work() -> int:
        for photo, mask in pairs:
            chain(photo, mask)
        return len(pairs)

    return work


def lab_chain(pixels: torch.Tensor, target: torch.Tensor) -> Callable[[], int]:
    """The lab report's order on PIL images; photo and mask share every random number."""
    jitter = transforms.ColorJitter(0.2, 0.2, 0.2, 0.2)
    pairs = [
        (Image.fromarray(photo.permute(1, 2, 0).numpy()), Image.fromarray(mask.numpy()))
        for photo, mask in zip(pixels, target, strict=True)
    ]
    bilinear, nearest = TF.InterpolationMode.BILINEAR, TF.InterpolationMode.NEAREST

    def work() -> int:
        for photo, mask in pairs:
            if random.random() < 0.5:
                photo, mask = TF.hflip(photo), TF.hflip(mask)  # noqa: PLW2901
            crop = transforms.RandomResizedCrop.get_params(photo, [0.8, 1.0], [3 / 4, 4 / 3])
            photo, mask = (  # noqa: PLW2901
                TF.resized_crop(picture, *crop, [SIZE, SIZE], mode) for picture, mode in ((photo, bilinear), (mask, nearest))
            )
            move = transforms.RandomAffine.get_params([-30.0, 30.0], [0.2, 0.2], [0.8, 1.2], None, [SIZE, SIZE])
            photo, mask = (  # noqa: PLW2901
                TF.affine(picture, *move, interpolation=mode) for picture, mode in ((photo, bilinear), (mask, nearest))
            )
            TF.normalize(TF.to_tensor(jitter(photo)), IMAGENET_MEAN, IMAGENET_DEVIATION)
            torch.from_numpy(np.array(mask))
        return len(pairs)

    return work


def kornia_batch(pixels: torch.Tensor, target: torch.Tensor) -> Callable[[], int]:
    import kornia.augmentation as K

    chain = K.AugmentationSequential(
        K.RandomHorizontalFlip(),
        K.RandomResizedCrop((SIZE, SIZE), scale=(0.8, 1.0), ratio=(3 / 4, 4 / 3)),
        K.RandomAffine(30.0, translate=(0.2, 0.2), scale=(0.8, 1.2)),
        K.ColorJitter(0.2, 0.2, 0.2, 0.2),
        K.Normalize(IMAGENET_MEAN, IMAGENET_DEVIATION),
        data_keys=["input", "mask"],
    )

    def work() -> int:
        chain(pixels.float() / 255, target[:, None].float())
        return BATCH

    return work


def main() -> None:
    torch.set_num_threads(1)
    print(describe_machine())
    pixels, target = make_batch()
    ways = {
        "batched": batched(pixels, target),
        "torchvision v2, tensors": torchvision_tensors(pixels, target),
        "the lab's chain, PIL": lab_chain(pixels, target),
    }
    if importlib.util.find_spec("kornia"):
        ways["kornia, batched"] = kornia_batch(pixels, target)
    else:
        print("kornia is not installed, and left out: pip install kornia")
    with keeping_memory():  # as in a training; for all ways alike
        rates = images_per_second(ways, rounds=ROUNDS)
    for name, values in rates.items():
        print(f"{name:24} {sorted(values)[len(values) // 2]:7.0f} img/s at {SIZE} px")
    for other in list(rates)[1:]:
        print(f"batched ÷ {other}: {ratio(rates, 'batched', other)}")


if __name__ == "__main__":
    main()
