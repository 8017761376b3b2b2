"""An exported model, computed by ONNX Runtime. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from fgbg.cores import count_cores
from fgbg.data.parallel import map_in_order
from fgbg.errors import UserError, first_line
from fgbg.model_file import ANSWER_SIZE, HEADER_KEY, PIXELS, PROBABILITY, parse_header, require_model_file
from fgbg.seal import is_onnx_as_written
from fgbg.ship.photo import AnyPhoto, Photo, open_photo

Shown = TypeVar("Shown", bound=Photo)

onnxruntime.disable_telemetry_events()  # in case a program imported it before fgbg, whose variable then came too late

ERRORS_ONLY = 3  # of ONNX Runtime's levels: it warns that the size of the answer is an optional input, which is intended

FOR_NEWER = ("Unsupported model IR version", "is under development and support for this is limited")
"""What ONNX Runtime says of a file in a format, or with operators, of which it does not know yet."""


class OnnxModel:
    """A model that takes a photo and returns the probability of object for each pixel.

    Args:
        path: A file that `fgbg export` wrote.
        threads: CPU threads per photo; 0 takes all cores.

    Attributes:
        header: The model file's header.
        threshold: The probability above which a pixel is object.

    Raises:
        UserError: The file is missing, damaged, for a newer ONNX Runtime, or was not written by fgbg.
    """

    def __init__(self, path: Path, *, threads: int = 0) -> None:
        require_model_file(path)
        content = path.read_bytes()
        if not is_onnx_as_written(content):
            raise UserError(f"{path} is damaged: it is not as it was written; export or copy it again")
        self._threads = threads or count_cores()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = ERRORS_ONLY
        # Its memory arena would keep, after a large photo, as much as that took; it is as fast without.
        options.enable_cpu_mem_arena = False
        # Threads that spin while they wait take cores from those that decode the next photo.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its errors have no other common class
            if any(words in str(error) for words in FOR_NEWER):
                raise UserError(
                    f"{path} was written for a newer ONNX Runtime than {onnxruntime.__version__}, which is installed: pip "
                    "install --upgrade onnxruntime"
                ) from None
            raise UserError(f"{path} is damaged or no ONNX file ({first_line(error)}): export or copy it again") from None
        self.header = parse_header(self._session.get_modelmeta().custom_metadata_map.get(HEADER_KEY), path)
        self.threshold = self.header.threshold

    @property
    def one_by_one(self) -> bool:
        """Whether each photo is computed on one core: one thread may then take it all the way, from file to file."""
        return self._threads == 1

    def __call__(self, photo: AnyPhoto) -> NDArray[np.float32]:
        """Probability of object (height, width), 0 to 1, at the photo's own size.

        Args:
            photo: A file, a Pillow image, uint8 RGB (height, width, 3), or an opened `Photo`.

        Raises:
            UserError: The photo cannot be read, or is an array of another type or shape.
        """
        return self._compute(open_photo(photo))

    def answer(self, photos: Iterable[Shown]) -> Iterator[tuple[Shown, NDArray[np.float32]]]:
        """Each photo with its probability, in order; as many photos at a time as there are cores for."""

        def compute(photo: Shown) -> tuple[Shown, NDArray[np.float32]]:
            return photo, self._compute(photo)

        at_a_time = count_cores() // self._threads
        if at_a_time <= 1:
            return map(compute, photos)
        # Twice as many are begun as are computed at once: no core waits for the caller to fetch an answer.
        return map_in_order(compute, photos, in_flight=2 * at_a_time, weigh=lambda photo: photo.weight)

    def _compute(self, photo: Photo) -> NDArray[np.float32]:
        size = np.array([photo.height, photo.width], np.int64)
        (probability,) = self._session.run([PROBABILITY], {PIXELS: photo.pixels, ANSWER_SIZE: size})
        return probability
