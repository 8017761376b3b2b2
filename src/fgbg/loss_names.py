"""What losses are called, and which options belong to which of them."""

from __future__ import annotations

from collections.abc import Sequence

from fgbg.errors import UserError

LOSSES = tuple(
    f"{pixels}_{overlap}"
    for pixels in ("bce", "focal", "boundary")
    for overlap in ("dice", "tversky", "focal_tversky", "log_cosh", "lovasz")
)
"""What a loss can be called: its part over pixels and its part over the overlap."""
LOSS_SETTINGS = (
    "bce_weight",
    "overlap_weight",
    "false_positive_weight",
    "false_negative_weight",
    "dice_reduction",
    "focal_gamma",
    "focal_tversky_gamma",
    "boundary_weight",
)
"""Settings of a loss, beside its name: what `make_loss` takes."""
LOSS_OPTIONS = {
    "false_positive_weight": ("tversky", "focal_tversky"),
    "false_negative_weight": ("tversky", "focal_tversky"),
    "focal_gamma": ("focal",),
    "focal_tversky_gamma": ("focal_tversky",),
    "boundary_weight": ("boundary",),
}
"""Settings that only some parts of a loss have, and those parts."""


def require_loss_option(name: str, losses: Sequence[str]) -> None:
    """Require that one of these losses has a part that the option belongs to.

    Raises:
        UserError: None has; the message names the nearest one.
    """
    if not any(has_option(loss, name) for loss in losses):
        parts = split_loss(losses[0])
        near = next(other for other in LOSSES if has_option(other, name) and set(parts) & set(split_loss(other)))
        flag = name.replace("_", "-")
        owners = " or ".join(LOSS_OPTIONS[name])
        raise UserError(f"--{flag} belongs to the part {owners}: use --loss {near}, say, or leave it out")


def has_option(loss: str, name: str) -> bool:
    """Whether an option of LOSS_OPTIONS changes this loss.

    >>> has_option("focal_tversky", "focal_gamma"), has_option("focal_tversky", "focal_tversky_gamma")
    (True, False)
    """
    return any(part in LOSS_OPTIONS[name] for part in split_loss(loss))


def split_loss(loss: str) -> tuple[str, str]:
    """The two parts of a loss's name: over pixels, and over the overlap.

    >>> split_loss("bce_focal_tversky")
    ('bce', 'focal_tversky')
    """
    pixels, _, overlap = loss.partition("_")
    return pixels, overlap
