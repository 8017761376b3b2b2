"""Patches at the photos' own scale in training, blended tiles in prediction."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import fgbg
from discs import make_samples, small_config
from fgbg.data import samples as samples_module
from fgbg.data.augment import PairedAugmentation
from fgbg.data.augment_ranges import NO_CHANGE, AugmentRanges
from fgbg.data.cache import Photos, cache_photos
from fgbg.data.images import read_photo
from fgbg.data.patches import PatchStore, count_patches, describe_patches, place_patches
from fgbg.data.samples import Sample, understand_samples
from fgbg.data.sources import open_samples
from fgbg.engine import Engine
from fgbg.judge.evaluate import evaluate
from fgbg.models.ensemble import Ensemble
from fgbg.models.predictor import CHUNK, Predictor
from fgbg.models.tiles import OVERLAP, Canvas, make_window, place_tiles
from fgbg.run import create_run
from fgbg.training import loop
from trivial import FirstChannel, make_header, make_network, make_noise, make_set, paint, red_predictor

pytestmark = pytest.mark.usefixtures("no_charts")

CPU = torch.device("cpu")
SHAPES = ((40, 60), (16, 16), (7, 90), (9, 5))


def mark_places(height: int, width: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photo whose pixels say where they are (row, column, photo + 1), and levels that follow from that."""
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack([rows, columns, np.full_like(rows, number + 1)], -1).astype(np.uint8)
    return pixels, ((rows + columns) % 3).astype(np.uint8)


def open_store(*, size: int = 16, has_margin: bool = True, seed: int = 0, border: str = "ignore") -> PatchStore:
    pairs = [mark_places(*shape, number) for number, shape in enumerate(SHAPES)]
    pixels, levels = (np.concatenate([pair[part].ravel() for pair in pairs]) for part in (0, 1))
    photos = Photos(pixels, levels, np.array([shape * 2 for shape in SHAPES], np.int64))
    return PatchStore(photos, border, CPU, size=size, seed=seed, has_margin=has_margin)


class TestPatches:
    def test_a_photo_has_a_row_for_every_patch_of_its_area(self) -> None:
        # 2400, 256, 630 and 45 pixels, in patches of 256
        assert open_store().photo_of_row.tolist() == [0] * 10 + [1] + [2] * 3 + [3]

    @pytest.mark.parametrize("has_margin", [True, False])
    def test_a_patch_is_the_photos_pixels_with_their_own_target_and_black_beyond(self, has_margin: bool) -> None:
        store = open_store(has_margin=has_margin)
        edge = 16 + (8 if has_margin else 0)
        pixels, target = store.take(np.arange(len(store)), 3)
        assert pixels.shape == (15, 3, edge, edge)
        assert pixels.dtype == target.dtype == torch.uint8
        for patch, judged, number in zip(pixels.int(), target.int(), store.photo_of_row, strict=True):
            height, width = SHAPES[number]
            inside = patch[2] > 0
            rows, columns = (axis.unique() for axis in (patch[0][inside], patch[1][inside]))
            assert set(patch[2].unique().tolist()) <= {0, number + 1}
            # One rectangle of the photo, pixel beside pixel.
            assert inside.sum() == len(rows) * len(columns)
            assert torch.equal(patch[0][inside].view(len(rows), -1), rows[:, None].expand(-1, len(columns)))
            assert torch.equal(patch[1][inside].view(len(rows), -1), columns.expand(len(rows), -1))
            assert len(rows) >= min(height, 16)
            assert len(columns) >= min(width, 16)
            levels = (patch[0] + patch[1]) % 3
            assert torch.equal(judged, torch.where(inside & (levels < 2), levels, 255))
            assert (patch[:, ~inside] == 0).all()

    def test_the_patch_itself_lies_inside_the_photo_or_holds_all_of_it(self) -> None:
        shapes = np.array(SHAPES * 500)
        corners = place_patches(shapes, 16, seed=0, epoch=1)
        assert (corners >= np.minimum(shapes - 16, 0)).all()
        assert (corners <= np.maximum(shapes - 16, 0)).all()
        assert len(np.unique(corners[1::4], axis=0)) == 1, "a photo of a patch's size has one place"
        assert len(np.unique(corners[3::4], axis=0)) == 8 * 12, "a smaller photo lies anywhere in the patch"

    def test_pixels_at_the_photos_edge_are_shown_too(self) -> None:
        shapes = np.full((4000, 2), 64)
        tops = place_patches(shapes, 16, seed=0, epoch=1)[:, 0]
        shown = np.array([((tops <= row) & (row < tops + 16)).mean() for row in range(64)])
        # By hand: the centre falls on each of 64 rows alike; at the first 9 and the last 8 the patch lies against the edge.
        # A patch whose top were drawn evenly would show the first row in one of 49.
        assert shown[0] == pytest.approx(9 / 64, abs=0.02)
        assert shown[63] == pytest.approx(8 / 64, abs=0.02)
        assert shown[32] == pytest.approx(16 / 64, abs=0.02)

    def test_a_row_depends_on_seed_epoch_and_row_alone(self) -> None:
        store, whole = open_store(), open_store().take(np.arange(15), 2)
        for rows, epoch in (([3], 1), ([14, 0, 7], 2), ([7], 5), ([0, 14], 2)):
            pixels, target = store.take(np.array(rows), epoch)
            if epoch == 2:
                assert torch.equal(pixels, whole[0][rows])
                assert torch.equal(target, whole[1][rows])
        assert not torch.equal(open_store().take(np.arange(10), 3)[0], whole[0][:10])
        assert not torch.equal(open_store(seed=1).take(np.arange(10), 2)[0], whole[0][:10])

    @pytest.mark.parametrize(("border", "band"), [("foreground", 1), ("background", 0), ("ignore", 255)])
    def test_the_border_rule_holds(self, border: str, band: int) -> None:
        pixels, target = open_store(border=border).take(np.arange(10), 1)
        is_band = (pixels[:, 2] > 0) & ((pixels[:, 0].int() + pixels[:, 1].int()) % 3 == 2)
        assert (target[is_band] == band).all()

    def test_a_reduced_photo_is_cut_pixel_for_pixel(self, make_folder, monkeypatch: pytest.MonkeyPatch) -> None:
        samples = open_samples(make_folder(4))
        monkeypatch.setattr(samples_module, "read_photo", partial(read_photo, largest_pixels=300))
        photos = cache_photos(samples, pixel_for_pixel=True)
        for pixels, levels in photos:
            assert pixels.shape[:2] == levels.shape
            assert pixels.shape[0] * pixels.shape[1] <= 320
            assert ((pixels.mean(2) > 120) == (levels == 1)).mean() > 0.9
        assert not np.array_equal(cache_photos(samples).shapes, photos.shapes), "the two are kept apart"

    def test_what_was_understood_is_said(self) -> None:
        samples = understand_samples("discs", make_samples(4, size=32))
        assert describe_patches(samples, 16) == "patches of 16 px at the photos' own scale: 16 an epoch from 4 photos"
        assert "\nnote: no photo is larger than a patch of --size 48" in describe_patches(samples, 48)
        assert "note" not in describe_patches(samples, 32)

    def test_photos_that_are_reduced_are_said(self, tmp_path: Path) -> None:
        large = tmp_path / "large.png"
        Image.new("1", (6000, 4001)).save(large)
        mask = np.zeros((4001, 6000), np.uint8)
        mask[0] = 1
        samples = understand_samples("one", [Sample("large", large, mask)])
        assert "note: photos of more than 24 megapixels (1 here) are reduced" in describe_patches(samples, 256)
        assert describe_patches(samples, 256).startswith("patches of 256 px at the photos' own scale: 92 an epoch")


class TestScale:
    def test_an_unaugmented_patch_is_the_photos_own_pixels(self) -> None:
        """The margin is for augmentation to draw on; it must not shrink what is shown."""
        store = open_store()
        augment = PairedAugmentation(NO_CHANGE, store.aspects, size=16, seed=0, device=CPU, reach=store.reach)
        rows = np.arange(10)
        image, target = augment(*store.take(rows, 1), torch.tensor(rows), 1)
        expected, expected_target = open_store(has_margin=False).take(rows, 1)
        torch.testing.assert_close(image * 255, expected.float(), atol=1e-3, rtol=0)
        assert torch.equal(target, expected_target)

    def test_scale_and_rotation_are_about_the_photos_own_scale(self) -> None:
        """A wave of 8 pixels stays, on average over the draws, a wave of 8 pixels."""
        x = np.arange(96)
        wave = np.repeat((127 + 100 * np.sin(2 * np.pi * x / 8))[None], 96, 0).astype(np.uint8)
        photos = Photos(np.repeat(wave[:, :, None], 3, 2).ravel(), np.zeros(96 * 96, np.uint8), np.array([[96] * 4]))
        store = PatchStore(photos, "ignore", CPU, size=64, seed=0, has_margin=True)
        ranges = replace(NO_CHANGE, enabled=True, scale=0.2)
        augment = PairedAugmentation(ranges, store.aspects, size=64, seed=0, device=CPU, reach=store.reach)
        rows, waves = np.arange(len(store)), []
        for epoch in range(1, 31):
            image, _ = augment(*store.take(rows, epoch), torch.tensor(rows), epoch)
            rising = (image[:, 0, 32, 1:] > 0.5) & (image[:, 0, 32, :-1] <= 0.5)
            waves += rising.sum(1).tolist()
        assert np.mean(waves) == pytest.approx(8, abs=0.4)
        assert np.std(waves) > 0.5

    def test_augmentation_draws_on_the_photo_around_the_patch(self) -> None:
        photos = Photos(np.full(200 * 200 * 3, 99, np.uint8), np.zeros(200 * 200, np.uint8), np.array([[200] * 4]))
        lost = {}
        for has_margin in (True, False):
            store = PatchStore(photos, "ignore", CPU, size=32, seed=0, has_margin=has_margin)
            augment = PairedAugmentation(AugmentRanges(), store.aspects, size=32, seed=0, device=CPU, reach=store.reach)
            rows = np.arange(len(store))
            lost[has_margin] = float((augment(*store.take(rows, 1), torch.tensor(rows), 1)[1] == 255).float().mean())
        assert lost[False] > 0.1
        assert lost[True] < 0.06  # at the photo's own edge there is nothing to draw on


class Edgy(nn.Module):
    """Wrong by 100 in the outermost pixels of whatever it is shown, and 0 elsewhere."""

    def forward(self, image: Tensor) -> Tensor:
        answer = torch.zeros_like(image[:, :1])
        for edge in (0, -1):
            answer[:, :, edge], answer[:, :, :, edge] = 100, 100
        return answer


class Constant(nn.Module):
    """The same logit everywhere, one that binary fractions do not hit."""

    def forward(self, image: Tensor) -> Tensor:
        return torch.full_like(image[:, :1], 0.7)


def crop_predictor(network: nn.Module, size: int = 16) -> Predictor:
    return Predictor(network, size=size, fit="crop").eval().to(memory_format=torch.channels_last)


def answer_whole(predictor: Predictor, pixels: Tensor) -> Tensor:
    """Logits of the network on the photo as it is, without tiles."""
    image = (pixels.permute(2, 0, 1).float() / 255 - predictor.mean) / predictor.deviation
    with torch.inference_mode():
        return predictor.network(image[None])[0, 0]


photo_shapes = pytest.mark.parametrize("shape", [(1, 1), (5, 9), (16, 16), (17, 16), (9, 50), (41, 23), (64, 100)])


class TestTiles:
    @settings(deadline=None, max_examples=60, derandomize=True)
    @given(st.integers(1, 200), st.integers(1, 200), st.integers(2, 60))
    def test_they_cover_the_photo_stay_inside_and_overlap(self, height: int, width: int, size: int) -> None:
        places = place_tiles(height, width, size)
        covered = np.zeros((height, width), bool)
        for top, left in places:
            covered[top : top + size, left : left + size] = True
            assert top + size <= max(height, size)
            assert left + size <= max(width, size)
        assert covered.all()
        for starts in (sorted({top for top, _ in places}), sorted({left for _, left in places})):
            assert starts[0] == 0
            assert (np.diff(starts) <= (1 - OVERLAP) * size + 1).all()  # a pixel of rounding
        assert len(set(places)) == len(places)

    def test_a_tiles_say_is_small_at_its_edges_and_nowhere_nothing(self) -> None:
        window = make_window(4)  # sin²(π/8) = 0.1464, sin²(3π/8) = 0.8536
        torch.testing.assert_close(window[0], torch.tensor([0.02145, 0.125, 0.125, 0.02145]), atol=1e-5, rtol=0)
        torch.testing.assert_close(window[1], torch.tensor([0.125, 0.72855, 0.72855, 0.125]), atol=1e-5, rtol=0)

    def test_two_tiles_blend_by_hand(self) -> None:
        canvas = Canvas(1, 3, make_window(2))  # Hann of 2: 1/2, 1/2
        canvas.add(torch.tensor([[1.0, 3.0], [9.0, 9.0]]), 0, 0)
        canvas.add(torch.tensor([[5.0, 7.0], [9.0, 9.0]]), 0, 1)
        assert canvas.mean.tolist() == [[1.0, 4.0, 7.0]]

    @photo_shapes
    def test_a_constant_stays_exactly_that(self, shape: tuple[int, int]) -> None:
        (logits,) = crop_predictor(Constant()).logits_at_size([torch.tensor(make_noise(*shape))])
        assert logits.shape == shape
        assert (logits == torch.tensor(0.7)).all()

    @photo_shapes
    def test_a_network_that_looks_at_single_pixels_answers_as_on_the_whole_photo(self, shape: tuple[int, int]) -> None:
        predictor, pixels = crop_predictor(FirstChannel()), torch.tensor(make_noise(*shape))
        torch.testing.assert_close(predictor.logits_at_size([pixels])[0], answer_whole(predictor, pixels), atol=1e-5, rtol=0)

    def test_what_goes_wrong_at_a_tiles_edge_leaves_no_seam(self) -> None:
        size = 32
        (logits,) = crop_predictor(Edgy(), size).logits_at_size([torch.tensor(make_noise(100, 77))])
        assert (logits[0] == 100).all(), "at the photo's own edge nothing else is known"
        # By hand: the edge of one tile is near the middle of its neighbour, which has sin²(π/64) of the say against 1.
        assert logits[1:-1, 1:-1].max() < 100 * 2 * np.sin(np.pi / 64) ** 2 * 2

    def test_a_network_that_looks_around_answers_nearly_as_on_the_whole_photo(self) -> None:
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))
        predictor, pixels = crop_predictor(network, 64), torch.tensor(make_noise(150, 200))
        whole = answer_whole(predictor, pixels)
        blended = predictor.logits_at_size([pixels])[0]
        assert (blended - whole)[3:-3, 3:-3].abs().max() < 0.02 * whole.std()

    def test_memory_holds_a_chunk_of_tiles_at_a_time_and_small_photos_share_it(self) -> None:
        batches = []

        class Watched(FirstChannel):
            def forward(self, image: Tensor) -> Tensor:
                batches.append(tuple(image.shape))
                return super().forward(image)

        crop_predictor(Watched()).logits_at_size([torch.tensor(make_noise(16, 16))] * 7 + [torch.tensor(make_noise(16, 32))])
        assert batches == [(CHUNK, 3, 16, 16)] * 2  # 7 + 3 tiles

    def test_a_piece_larger_than_a_tile_is_no_square(self) -> None:
        with pytest.raises(ValueError, match="40×20 pixels do not lie in a square of 16"):
            crop_predictor(FirstChannel()).square_logits([torch.tensor(make_noise(20, 40))])


class TestEnsembles:
    def test_members_are_averaged_at_the_photos_own_size(self) -> None:
        members = [crop_predictor(make_network("unet", seed=seed), size) for seed, size in ((0, 32), (1, 48))]
        pixels = make_noise(50, 77)
        mean = np.mean([member.probability(pixels, 50, 77) for member in members], axis=0)
        np.testing.assert_allclose(Ensemble(members).probability(pixels, 50, 77), mean, atol=1e-6)

    def test_flip_is_the_mean_with_the_mirrored_answer(self) -> None:
        member, pixels = crop_predictor(make_network("unet"), 32), make_noise(40, 75)
        mirrored = member.probability(np.ascontiguousarray(pixels[:, ::-1]), 40, 75)[:, ::-1]
        mean = (member.probability(pixels, 40, 75) + mirrored) / 2
        np.testing.assert_allclose(Ensemble([member], "flip").probability(pixels, 40, 75), mean, atol=1e-6)

    def test_other_scales_are_refused(self) -> None:
        with pytest.raises(fgbg.UserError, match=r"--tta scale: .* own scale \(--fit crop\); use --tta flip"):
            Ensemble([crop_predictor(FirstChannel())], "scale")


class TestScores:
    def test_training_size_is_the_photos_own(self, tmp_path: Path) -> None:
        inside = np.zeros((30, 41), bool)
        inside[3:20, 7:33] = True
        run = create_run(tmp_path / "run")
        evaluation = evaluate(
            red_predictor(16, fit="crop"),
            make_header(size=16, fit="crop"),
            make_set((paint(inside), inside.astype(np.uint8)), (paint(inside[:9, :9]), inside[:9, :9].astype(np.uint8))),
            engine=Engine("cpu", "fp32", 1),
            split="test",
            run=run,
        )
        assert [(row.dice, row.dice_at_size) for row in evaluation.rows] == [(1.0, 1.0)] * 2
        with Image.open(run.predictions("test") / "photo_0.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), inside * np.uint8(255))
        assert "fit crop" in evaluation.describe()
        assert "training size" not in evaluation.describe(), "it would be the same number"

    def test_a_reduced_photo_is_answered_at_its_full_size(self) -> None:
        inside = np.zeros((20, 30), bool)
        inside[:, :12] = True
        found = red_predictor(16, fit="crop").probability(paint(inside), 40, 60) > 0.5
        np.testing.assert_array_equal(found, np.repeat(np.repeat(inside, 2, 0), 2, 1))


class TestTraining:
    def test_an_interrupted_run_resumes_to_the_same_bits(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = small_config(tmp_path / "cut", fit="crop", size=24, epochs=2)
        whole = fgbg.train(replace(config, out=str(tmp_path / "whole")), samples=make_samples(8))
        steps, take_step = 0, loop.take_step

        def interrupt(*arguments: object) -> tuple[float, float]:
            nonlocal steps
            steps += 1
            if steps == 5:  # the second of epoch 2: 6 photos of 32² hold 12 patches of 24², 3 batches
                raise KeyboardInterrupt
            return take_step(*arguments)

        monkeypatch.setattr(loop, "take_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            fgbg.train(config, samples=make_samples(8))
        monkeypatch.undo()
        assert len(fgbg.open_run(tmp_path / "cut").epochs()) == 1
        resumed = fgbg.train(config, samples=make_samples(8), resume=True)
        first, second = (torch.load(run.last, weights_only=True)["network"] for run in (whole, resumed))
        assert all(torch.equal(weight, second[name]) for name, weight in first.items())
        assert whole.scores("validation") == resumed.scores("validation")

    def test_it_learns_and_ships(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        config = small_config(tmp_path / "run", fit="crop", size=16, epochs=4, batch_size=20)
        run = fgbg.train(config, samples=make_samples())  # 20 is more than the 12 photos, not than their 48 patches
        assert "patches of 16 px at the photos' own scale: 48 an epoch from 12 photos" in capsys.readouterr().out
        assert run.epochs()[-1].val_dice == run.epochs()[-1].val_dice_photo
        model, sample = fgbg.load(run.folder), make_samples(1, size=50)[0]
        assert model.header.fit == "crop"
        probability = model(sample.image)
        assert probability.shape == (50, 50)
        np.testing.assert_array_equal(probability, model.predictor.probability(sample.image, 50, 50))

    def test_too_few_patches_for_a_batch_are_said(self, tmp_path: Path) -> None:
        config = small_config(tmp_path / "run", fit="crop", size=16, batch_size=49)
        with pytest.raises(fgbg.UserError, match="--batch-size 49 is more than the 48 patches of 16 px"):
            fgbg.train(config, samples=make_samples())


def test_counts_are_rounded_up() -> None:
    assert count_patches(np.array([[16, 16], [16, 17], [1, 1]]), 16).tolist() == [1, 2, 1]
