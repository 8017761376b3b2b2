"""The shape of a drawn animal: a skeleton in a pose, grown into parts, traced as outlines, placed in the frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SUPERSAMPLING = 3  # shapes are drawn this many times larger, then averaged down
SHARE_RANGE = (0.11, 0.45)  # share of the frame that the animal should cover
FUR = 0.6  # longest tuft at irregularity 1, in radii of the body part it grows from
ROUNDING = 0.075  # blur that closes gaps and rounds corners at irregularity 0, animal units
PROBE, PROBE_SPAN = 216, 3.2  # raster that measures an animal: pixels; width in animal units (its length is about 1.5)
PROBE_STRIDE = 4  # every 4th covered pixel, in reading order, is kept: about 800 points
CURVE_STEPS, CAP_STEPS = 28, 7  # vertices along each side of a body part, and around each end
# Side views that face right, y down: hip, shoulder, and the far hind, near hind, far front and near front paw.
STANCES = np.array([
    [(-.35, .00), (.33, -.02), (-.44, .50), (-.28, .53), (.26, .50), (.40, .53)],  # stand
    [(-.35, .00), (.33, -.03), (-.20, .50), (-.54, .50), (.18, .50), (.56, .46)],  # walk
    [(-.36, .02), (.36, -.06), (-.80, .28), (-.66, .42), (.62, .38), (.80, .22)],  # run
    [(-.15, .20), (.12, -.22), (.04, .50), (.10, .53), (.22, .50), (.30, .53)],  # sit
    [(-.36, .12), (.32, .05), (-.10, .32), (-.18, .34), (.62, .30), (.70, .34)],  # lie
    [(-.32, -.14), (.30, .16), (-.44, .42), (-.30, .46), (.68, .40), (.76, .45)],  # bow
])  # fmt: skip
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Pose:
    """Build, posture and position of one animal; lengths in animal units, angles in radians."""

    joints: Floats  # Float "6 2", as in STANCES
    girth: float
    head: float
    snout: float
    neck_lift: float
    head_tilt: float
    ear_length: float
    ear_lean: float
    tail_length: float
    tail_lift: float
    tail_curl: float
    turn: Floats  # Float "2 2": rotation and mirroring of row vectors
    centre: Floats  # Float "2": centroid, frame widths
    share: float  # of the frame that it covers


@dataclass(frozen=True)
class Part:
    """A tapered stroke along a Bézier curve: every limb, leaf and rock is one."""

    points: Floats  # Float "controls 2"
    radii: tuple[float, ...]  # spread evenly along the curve
    tone: float = 0.0  # lightness against the whole body, in [-1, 1]


@dataclass(frozen=True)
class Animal:
    """An animal placed in the frame."""

    coverage: Floats  # Float "height width", in [0, 1]
    details: Floats  # Float "height width 3": part tone in [-1, 1]; eye and nose, and the eye's glint, both in [0, 1]
    altitude: Floats  # Float "height width": from belly to back whatever the rotation, animal units


def choose_pose(rng: np.random.Generator) -> Pose:
    """Draw the build, the posture and the position of one animal."""
    angle = rng.normal(0, 0.22) if rng.random() < 0.85 else rng.uniform(-1.3, 1.3)
    cosine, sine, mirror = math.cos(angle), math.sin(angle), rng.choice((-1.0, 1.0))
    spread = 0.10 if rng.random() < 0.8 else 0.30  # the wide spread lets the frame cut some animals
    return Pose(
        joints=rng.choice(STANCES) * rng.normal(1, 0.06, (6, 2)) * (rng.uniform(0.78, 1.08), rng.uniform(0.8, 1.1)),
        girth=rng.uniform(0.13, 0.18),
        head=rng.uniform(0.125, 0.165),
        snout=rng.uniform(0.05, 0.19),
        neck_lift=rng.uniform(0.3, 1.15),
        head_tilt=rng.normal(0.12, 0.2),
        ear_length=rng.uniform(0.16, 0.25),
        ear_lean=rng.uniform(-0.2, 0.6) if rng.random() < 0.75 else rng.uniform(1.7, 2.4),  # pricked or hanging
        tail_length=rng.uniform(0.35, 0.75),
        tail_lift=rng.uniform(-0.5, 1.3),
        tail_curl=rng.normal(0, 0.6),
        turn=np.array([[mirror * cosine, mirror * sine], [-sine, cosine]]),
        centre=rng.uniform(0.5 - spread, 0.5 + spread, 2),
        share=SHARE_RANGE[0] + (SHARE_RANGE[1] - SHARE_RANGE[0]) * rng.beta(1.5, 2.0),
    )


def _build_animal(pose: Pose, irregularity: float) -> list[Part]:
    """Grow the parts of an animal, far side first, nose and eye last; animal units, facing right, y down."""

    def blend(smooth: float, ragged: float) -> float:
        return smooth + irregularity * (ragged - smooth)

    def grow_leg(joint: Floats, paw: Floats, bend: float, thigh: float, tone: float) -> list[Part]:
        paw, toe, width = joint + (paw - joint) * blend(0.62, 1.0), np.array([blend(0.03, 0.07), 0]), blend(0.085, 0.036)
        knee, ankle = joint + 0.4 * (paw - joint) + (bend, 0), joint + 0.75 * (paw - joint) - (bend, 0)
        leg = Part(np.array([joint, knee, ankle, paw]), (thigh * girth, 1.5 * width, width, width), tone)
        return [leg, Part(np.array([paw, paw + toe]), (width, 0.9 * width), tone)]

    def grow_ear(back: float, tone: float) -> Part:
        root, lean = skull + head * (0.62 * upward - back * ahead), pose.ear_lean + 0.15 * back
        tip = root + pose.ear_length * blend(0.3, 1.15) * (math.cos(lean) * upward - math.sin(lean) * ahead)
        middle = 0.5 * (root + tip) + 0.05 * upward * (lean > math.pi / 2)  # a hanging ear rises before it falls
        return Part(np.array([root, middle, tip]), (0.5 * head, 0.4 * head, blend(0.38, 0.04) * head), tone)

    hip, shoulder, far_hind, near_hind, far_front, near_front = pose.joints
    girth, head = pose.girth * blend(1.25, 0.95), pose.head
    skull = shoulder + blend(0.18, 0.3) * np.array([math.cos(pose.neck_lift), -math.sin(pose.neck_lift)])
    ahead = np.array([math.cos(pose.head_tilt), math.sin(pose.head_tilt)])
    upward = np.array([ahead[1], -ahead[0]])
    muzzle = skull + (0.5 * head + pose.snout) * ahead - 0.3 * head * upward
    eye = skull + head * (0.32 * ahead + 0.22 * upward)
    rump = hip - 0.7 * girth * (shoulder - hip) / np.linalg.norm(shoulder - hip)
    bends = math.pi + pose.tail_lift + pose.tail_curl * np.arange(3)
    tail = np.cumsum(np.stack([np.cos(bends), np.sin(bends)], axis=1), axis=0) * pose.tail_length * blend(0, 0.36)
    rays = [math.cos(angle) * ahead - math.sin(angle) * upward for angle in (-0.35, 0.15, 0.7)]
    whisker = (blend(0, 0.012), blend(0, 0.007))
    return [
        *grow_leg(hip, far_hind, 0.06, 0.5, -0.5), *grow_leg(shoulder, far_front, -0.03, 0.45, -0.5),
        Part(np.vstack([hip, rump + tail]), (0.5 * girth, 0.06, blend(0.06, 0.045), blend(0.05, 0.012)), -0.2),
        grow_ear(-0.25, -0.4), *(Part(np.array([muzzle, muzzle + blend(0, 0.3) * ray]), whisker, 0.5) for ray in rays),
        Part(np.array([hip, 0.5 * (hip + shoulder) + (0, 0.02), shoulder]), (girth, blend(1.05, 0.8) * girth, girth)),
        *grow_leg(hip, near_hind, 0.06, 0.8, 0.1), *grow_leg(shoulder, near_front, -0.03, 0.55, 0.1),
        Part(np.array([shoulder, skull]), (0.85 * girth, 0.7 * head, 0.85 * head), 0.05),
        Part(np.array([skull, muzzle]), (0.8 * head, blend(0.5, 0.38) * head), 0.25),
        Part(np.array([skull, skull]), (head, head), 0.15), grow_ear(0.4, 0.05),
        Part(muzzle + head * np.array([0.35 * ahead, 0.3 * ahead]), (0.16 * head, 0.14 * head)),
        Part(np.array([eye, eye]), (0.16 * head, 0.16 * head)),
    ]  # fmt: skip


@lru_cache
def _bernstein(controls: int) -> Floats:
    """Give the weights of a Bézier curve's control points, Float "CURVE_STEPS controls"."""
    along, power = np.linspace(0, 1, CURVE_STEPS)[:, None], np.arange(controls)
    return np.array([math.comb(controls - 1, k) for k in power]) * along**power * (1 - along) ** power[::-1]


def trace_outlines(parts: list[Part], raggedness: float, rng: np.random.Generator) -> Floats:
    """Trace closed outlines, Float "parts vertices 2"; every second vertex is pulled outward to form a tuft."""
    spine = np.stack([_bernstein(len(part.points)) @ part.points for part in parts])
    along = np.linspace(0, 1, CURVE_STEPS)
    radii = np.stack([np.interp(along, np.linspace(0, 1, len(part.radii)), part.radii) for part in parts])[..., None]
    tangent = np.gradient(spine, axis=1)
    tangent[np.abs(tangent).sum(axis=2) < 1e-6] = (1, 0)  # a dot has no direction of its own
    tangent /= np.linalg.norm(tangent, axis=2, keepdims=True)
    side = tangent[..., ::-1] * (-1, 1)
    turn = np.linspace(-math.pi / 2, math.pi / 2, CAP_STEPS + 2)[1:-1, None]
    tip, base = (np.cos(turn) * tangent[:, [end]] + np.sin(turn) * side[:, [end]] for end in (-1, 0))
    outward = np.concatenate([-side, tip, side[:, ::-1], -base], axis=1)
    order = np.r_[:CURVE_STEPS, [CURVE_STEPS - 1] * CAP_STEPS, CURVE_STEPS - 1 : -1 : -1, [0] * CAP_STEPS]
    tufts = rng.random((*outward.shape[:2], 1)) * (np.arange(len(order)) % 2)[:, None]
    return spine[:, order] + outward * radii[:, order] * (1 + raggedness * tufts)


def fill_outlines(outlines: Floats, inks: Sequence[int | tuple[int, ...]], mode: str, size: int) -> Image.Image:
    """Fill outlines, given in canvas widths, one over the other; the first ink is the canvas colour."""
    canvas = Image.new(mode, (size, size), inks[0])
    pen = ImageDraw.Draw(canvas)
    for outline, ink in zip((outlines * size - 0.5).reshape(len(outlines), -1).tolist(), inks[1:], strict=True):
        pen.polygon(outline, fill=ink)
    return canvas


def _cover(outlines: Floats, size: int, rounding: float) -> Image.Image:
    """Draw the union of outlines in grey; `rounding`, in canvas widths, closes gaps and rounds corners."""
    canvas = fill_outlines(outlines, [0] + [255] * len(outlines), "L", size)
    if rounding * size < 0.5:
        return canvas
    return canvas.filter(ImageFilter.GaussianBlur(rounding * size)).point([0] * 96 + [255] * 160)


def place_animal(pose: Pose, irregularity: float, size: int, rng: np.random.Generator) -> Animal:
    """Put the animal into a frame of edge `size` pixels; the pose sets area and centre, however rough the outline."""
    parts = _build_animal(pose, irregularity)
    outlines = trace_outlines(parts, FUR * irregularity, rng) @ pose.turn
    rounding = ROUNDING * (1 - irregularity) ** 1.5
    body = outlines[:-2]  # nose and eye lie within
    probe = np.asarray(_cover(body / PROBE_SPAN + 0.5, PROBE, rounding / PROBE_SPAN))
    inside = ((np.argwhere(probe)[::PROBE_STRIDE, ::-1] + 0.5) / PROBE - 0.5) * PROBE_SPAN
    centroid = inside.mean(axis=0)
    # The frame may cut parts off, so the scale is chosen by the share that stays visible, whatever the shape.
    scales = np.geomspace(0.12, 1.6, 40)
    placed = (inside - centroid) * scales[:, None, None] + pose.centre
    visible = ((placed > 0) & (placed < 1)).all(axis=2).sum(axis=1) * PROBE_STRIDE * (scales * PROBE_SPAN / PROBE) ** 2
    scale = float(np.interp(pose.share, np.maximum.accumulate(visible), scales))

    outlines = (outlines - centroid) * scale + pose.centre
    large = size * SUPERSAMPLING
    coverage = _cover(outlines[:-2], large, rounding * scale).reduce(SUPERSAMPLING)
    glint = outlines[-1:] * 0.4 + 0.6 * outlines[-1].mean(axis=0) - 0.03 * scale * pose.head
    inks = [(128, 0, 0), *((128 + int(127 * part.tone), 0, 0) for part in parts[:-2])]
    inks += [(128, 255, 0), (128, 255, 0), (128, 255, 255)]
    details = np.asarray(
        fill_outlines(np.concatenate([outlines, glint]), inks, "RGB", large).reduce(SUPERSAMPLING), np.float32
    )
    grid = np.stack(np.meshgrid(*[(np.arange(size) + 0.5) / size] * 2), axis=-1)
    altitude = (pose.centre - grid) @ pose.turn[1] / scale  # turn[1] is where the body's y axis points
    return Animal(np.asarray(coverage, np.float32) / 255, (details - (128, 0, 0)) / (127, 255, 255), altitude)
