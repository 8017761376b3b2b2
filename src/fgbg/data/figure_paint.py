"""The colours of a drawn picture: ground, clutter, coat, light and noise, in OKLab until the last step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fgbg.data.figure_shapes import Animal, Floats, Part, fill_outlines, trace_outlines

TONE_SPAN = 0.45  # OKLab distance between the mean colours of animal and ground at tone gap 1
ACCENT_SPAN = 0.15  # OKLab distance of clutter in a third colour
RELIEF, RIM = 0.52, 0.12  # how much lightness solids gain towards the light, and lose along their outline
FACE_INK = (0.18, 0.0, 0.0)  # OKLab colour of eye and nose
# OKLab lightness, chroma, hue in degrees.
GROUNDS = ((.55, .09, 130), (.70, .06, 85), (.42, .05, 60), (.56, .02, 250), (.46, .07, 30), (.52, .05, 235),
           (.74, .02, 95), (.52, .08, 70), (.42, .06, 150), (.60, .05, 320))  # fmt: skip
COATS = ((.68, .14, 60), (.36, .06, 50), (.88, .05, 85), (.20, .01, 60), (.55, .01, 260), (.95, .01, 90),
         (.50, .10, 45))  # fmt: skip
# Fewest, most; shortest, longest; radius at the start, middle and end; lengths in frame widths.
CLUTTER = (
    ((0, 1), (.15, .40), (.075, .110, .065)),  # decoy, as big as an animal
    ((0, 1), (1.2, 1.9), (.030, .045, .030)),  # stripe across the frame
    ((1, 5), (.04, .16), (.060, .085, .050)),  # rock
    ((1, 5), (.20, .70), (.012, .010, .004)),  # stick
    ((2, 10), (.08, .18), (.002, .045, .002)),  # leaf
    ((3, 16), (.00, .03), (.012, .016, .010)),  # pebble
)  # fmt: skip
FROM_OKLAB = np.array([[1, 1, 1], [0.39634, -0.10556, -0.08948], [0.21580, -0.06385, -1.29149]], np.float32)
TO_LINEAR = np.array(
    [[4.07674, -1.26844, -0.00420], [-3.30771, 2.60976, -0.70342], [0.23097, -0.34132, 1.70761]], np.float32
)


@dataclass(frozen=True)
class Scene:
    """Colours, texture and light, all independent of the animal. Colours are OKLab."""

    stops: Floats  # Float "4 3": colours of ground (and coat) from texture value 0 to 1
    coat_shift: Floats  # Float "3": from the ground to the animal at tone gap 1
    accent_shift: Floats  # Float "3": from the ground to clutter of a third colour
    texture: str
    cells: float  # coarse features of the texture across the frame
    grain: float  # weight of its finer octaves
    stripe_angle: float
    light: Floats  # Float "2": unit vector from the light, x right, y down
    slope: Floats  # Float "2": relative change of lightness across the frame
    shadow: float  # share of the lightness that a cast shadow takes away
    blur: float  # in pixels of a picture 128 wide
    noise: float  # standard deviation, grey levels of 255


def choose_scene(rng: np.random.Generator) -> Scene:
    """Draw the colours, the texture and the light of one picture."""

    def mix_lab(lightness: float, chroma: float, hue: float) -> Floats:
        return np.array([lightness, chroma * math.cos(math.radians(hue)), chroma * math.sin(math.radians(hue))])

    base = mix_lab(*GROUNDS[rng.integers(len(GROUNDS))]) + rng.normal(0, (0.05, 0.012, 0.012))
    contrast = np.linspace(-1, 1, 4)[:, None] * (rng.uniform(0.09, 0.17), 0, 0)
    # Of three coats take the one least like the ground and fix its distance, so that a gap means the same everywhere.
    coats = np.array([mix_lab(*COATS[k]) for k in rng.permutation(len(COATS))[:3]]) + rng.normal(0, 0.02, (3, 3))
    coat = max(coats - base, key=np.linalg.norm)
    accent = rng.normal(0, (0.5, 1, 1))
    light_angle = rng.normal(math.pi / 2, 0.6)  # from above, more or less
    return Scene(
        stops=base + contrast + rng.normal(0, (0.01, 0.018, 0.018), (4, 3)),
        coat_shift=coat * TONE_SPAN / np.linalg.norm(coat),
        accent_shift=accent * ACCENT_SPAN / np.linalg.norm(accent),
        texture=str(rng.choice(("cloud", "blades", "ripples", "cobbles"))),
        cells=rng.uniform(5, 11),
        grain=rng.uniform(0.45, 0.7),
        stripe_angle=rng.uniform(0, math.pi),
        light=np.array([math.cos(light_angle), math.sin(light_angle)]),
        slope=rng.uniform(-0.4, 0.4, 2),
        shadow=rng.uniform(0.1, 0.35),
        blur=rng.uniform(0, 0.7),
        noise=rng.uniform(1.5, 6),
    )


def _blur(field: Floats, radius: float) -> Floats:
    """Blur Float "height width" in [0, 1]; the radius is in frame widths."""
    picture = Image.fromarray((field * 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(radius * len(field)))
    return np.asarray(picture, np.float32) / 255


def _shift(field: Floats, offset: Floats) -> Floats:
    """Move Float32 "height width" by frame widths; zeros move in."""
    across, down = (offset * len(field)).tolist()
    picture = Image.fromarray(field)
    return np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, (1, 0, -across, 0, 1, -down)))


def _make_noise(rng: np.random.Generator, size: int, across: float, down: float) -> Floats:
    """Make smooth noise around 0, Float32 "size size", from `across` × `down` random cells over the frame."""
    cells = rng.standard_normal((math.ceil(down) + 1, math.ceil(across) + 1), np.float32)
    picture = Image.fromarray(cells).resize((size, size), Image.Resampling.BICUBIC, (0.5, 0.5, across + 0.5, down + 0.5))
    return np.asarray(picture)


def _make_texture(scene: Scene, size: int, rng: np.random.Generator) -> Floats:
    """Make one patch of the scene's texture, Float "size size"."""
    stretch = 3.0 if scene.texture == "blades" else 1.0
    scales = [scene.cells * 2**octave for octave in range(4)]
    octaves = [_make_noise(rng, size, scale * stretch, scale / stretch) for scale in scales]
    cloud = sum((scene.grain**k * octave for k, octave in enumerate(octaves)), np.zeros((), np.float32))
    if scene.texture == "ripples":
        across, down = np.meshgrid(*[np.arange(size, dtype=np.float32) / size] * 2)
        phase = across * math.cos(scene.stripe_angle) + down * math.sin(scene.stripe_angle) + rng.random()
        return np.sin(2 * math.pi * 1.2 * scene.cells * phase + 1.6 * octaves[0]) + 0.5 * cloud
    if scene.texture == "cobbles":  # creases where the noise changes its sign
        return np.abs(octaves[0]) + scene.grain * np.abs(octaves[1]) + 0.2 * octaves[2]
    return cloud


def _equalise(field: Floats, sample: Floats) -> Floats:
    """Turn values into their ranks in a sample, in [0, 1]: whatever the field, all colours then occur equally often."""
    knots = np.sort(sample)
    return np.interp(field, knots, np.linspace(0, 1, len(knots)))


def _look_up(stops: Floats, values: Floats) -> Floats:
    """Give the colours of values in [0, 1], Float32 "height width 3"."""
    shades, places = np.linspace(0, 1, 512), np.linspace(0, 1, len(stops))
    table = np.stack([np.interp(shades, places, channel) for channel in stops.T], axis=1).astype(np.float32)
    return table[(values * 511).astype(np.intp)]


def _shade(coverage: Floats, scene: Scene, radius: float) -> Floats:
    """Shade a solid from its outline alone: lightness around 0, Float "height width"."""
    soft = _blur(coverage, radius)
    down, across = np.gradient(soft)
    towards_light = (across * scene.light[0] + down * scene.light[1]) * radius * len(soft)
    return RELIEF * towards_light - RIM * np.clip(2 - 2 * _blur(coverage, 0.008), 0, 1)


def _scatter_clutter(size: int, rng: np.random.Generator) -> Floats:
    """Draw clutter, Float "height width 4": amounts of coat, accent and light in [-1, 1], and coverage in [0, 1]."""
    outlines, inks = [], [(128, 128, 128, 0)]
    for (fewest, most), lengths, radii in CLUTTER:
        count = int(rng.integers(fewest, most + 1))
        angle, length = rng.uniform(0, 2 * math.pi, count), rng.uniform(*lengths, (count, 1))
        reach = np.stack([np.cos(angle), np.sin(angle)], axis=1) * length / 2
        middle, bend = rng.uniform(-0.05, 1.05, (count, 2)), rng.normal(0, 0.2, (count, 2)) * length
        points = np.stack([middle - reach, middle + bend, middle + reach], axis=1)
        widths = rng.uniform(0.6, 1.3, (count, 1)) * radii
        if count:
            parts = [Part(curve, tuple(width)) for curve, width in zip(points, widths, strict=True)]
            outlines.append(trace_outlines(parts, rng.uniform(0, 0.5), rng))
        # Either the coat's colour, or the accent, or neither: colour alone must not give the animal away.
        amounts = rng.uniform((0, -1, -0.6), (1, 1, 0.6), (count, 3))
        amounts[:, :2] *= np.eye(3)[rng.choice(3, count, p=(0.4, 0.4, 0.2)), :2]
        inks += [(*(128 + 127 * row).astype(int).tolist(), 255) for row in amounts]
    # RGBX, because `reduce` would weight the colours of an RGBA picture by the fourth channel.
    canvas = fill_outlines(np.concatenate(outlines), inks, "RGBX", size * 2).reduce(2)
    return (np.asarray(canvas, np.float32) - (128, 128, 128, 0)) / (127, 127, 127, 255)


def paint_ground(scene: Scene, size: int, rng: np.random.Generator, clutter_rng: np.random.Generator) -> Floats:
    """Paint ground and clutter, OKLab Float "size size 3"."""
    layer = _scatter_clutter(size, clutter_rng).astype(np.float32)
    clutter = layer[..., 3]
    below, on_top = (_equalise(field, field.ravel()[::16]) for field in (_make_texture(scene, size, rng) for _ in "ab"))
    lab = _look_up(scene.stops, below + clutter * (on_top - below))  # clutter breaks the texture as an animal does
    lab += layer[..., :2] @ np.stack([scene.coat_shift, scene.accent_shift]).astype(np.float32)
    lab[..., 0] += 0.22 * layer[..., 2] + _shade(clutter, scene, 0.03) * clutter
    lab[..., 0] *= 1 - scene.shadow * _blur(_shift(clutter, 0.02 * scene.light), 0.015) * (1 - clutter)
    return lab


def cast_shadow(ground: Floats, animal: Animal, scene: Scene) -> None:
    """Darken the ground, OKLab Float "size size 3", in place, where the animal casts its shadow."""
    ground[..., 0] *= 1 - scene.shadow * _blur(_shift(animal.coverage, 0.03 * scene.light), 0.02)


def paint_coat(animal: Animal, scene: Scene, tone_gap: float, rng: np.random.Generator) -> Floats:
    """Paint the animal's colours over the whole frame, OKLab Float "size size 3"."""
    size = len(animal.coverage)
    belly, patches = rng.uniform(-0.5, 2.5), rng.uniform(0, 0.7)
    field = _make_texture(scene, size, rng) - belly * animal.altitude + patches * _make_noise(rng, size, 4, 4)
    # Equalised over the body, the markings use exactly the colours of the ground, as often as the ground does.
    lab = _look_up(scene.stops, _equalise(field, field[animal.coverage >= 0.5]))
    lab += (tone_gap * scene.coat_shift).astype(np.float32)
    tone, face, glint = np.moveaxis(animal.details, -1, 0).astype(np.float32)
    lab[..., 0] += 0.11 * tone + _shade(animal.coverage, scene, 0.04)
    face = face * (0.25 + 0.75 * tone_gap)  # camouflage dims the face too
    lab += face[..., None] * (np.array(FACE_INK, np.float32) - lab)
    lab[..., 0] += 0.7 * face * glint
    return lab


def expose(lab: Floats, scene: Scene, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Light, blur and digitise an OKLab picture, UInt8 "height width 3" RGB."""
    size = len(lab)
    ramp = np.linspace(-0.5, 0.5, size, dtype=np.float32)[:, None]
    lab = lab * (1 + scene.slope[0] * ramp.T + scene.slope[1] * ramp)[..., None].astype(np.float32)
    linear = np.clip((lab @ FROM_OKLAB) ** 3 @ TO_LINEAR, 0, 1)
    levels = 255 * np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    picture = Image.fromarray(levels.round().astype(np.uint8))
    pixels = np.asarray(picture.filter(ImageFilter.GaussianBlur(scene.blur * size / 128)), np.float32)
    pixels = pixels + scene.noise * rng.standard_normal(pixels.shape, np.float32)
    return np.clip(pixels, 0, 255).round().astype(np.uint8)
