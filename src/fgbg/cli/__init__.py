"""The command line: each verb parses its flags, makes one call, and prints.

Each verb is defined next to its flags, in the module for its stage in a model's life (see `VERBS`). Heavy libraries are
imported inside the verbs, so that `--help` answers at once.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable, Sequence

from fgbg.cli.checking import check_verb
from fgbg.cli.drawing import demo_verb, figures_verb
from fgbg.cli.judging import compare_verb, evaluate_verb, report_verb
from fgbg.cli.shipping import export_verb, predict_verb, refine_verb, serve_verb
from fgbg.cli.training import sweep_verb, train_verb
from fgbg.cli.verb import EXIT_INTERRUPTED, EXIT_MISTAKE, EXIT_UNREAD, EXTRAS
from fgbg.errors import UserError, unknown_name

__all__ = ["EXTRAS", "VERBS", "main"]

VERBS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "demo": (demo_verb, "figures -> two models -> table and charts, minutes on a CPU"),
    "check": (check_verb, "what is wrong with DATA, or with a run, before it fools you"),
    "train": (train_verb, "DATA -> a run folder with a trained model"),
    "sweep": (sweep_verb, "many trainings on DATA -> better settings, by validation photos alone"),
    "evaluate": (evaluate_verb, "a run's scores on photos it has not seen"),
    "predict": (predict_verb, "photos -> masks, cut-outs, overlays"),
    "serve": (serve_verb, "a model behind a page on this machine, and a web interface for programs"),
    "refine": (refine_verb, "a run -> which steps after the network help, with intervals"),
    "export": (export_verb, "a model -> one ONNX file that needs no torch, and its model card"),
    "compare": (compare_verb, "is one run better than another? A verdict with its numbers"),
    "report": (report_verb, "one page: scores, slices, failures, comparison; workbook and charts"),
    "figures": (figures_verb, "draw a data set of animals"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit status: 0 on success, 2 on a user's mistake, which is explained in a sentence.

    130 says that Ctrl-C ended it, 141 that nobody reads what it prints any more.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file's name need not be valid UTF-8. Whether somebody reads a line shows when it is printed, not at the very end.
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        if not argv or argv[0] in ("-h", "--help"):
            print(_overview())
            return 0
        if argv[0] == "--version":
            from fgbg import __version__

            print(f"fgbg {__version__}")
            return 0
        if argv[0] not in VERBS:
            raise unknown_name("command", argv[0], VERBS)
        return VERBS[argv[0]][0](argv[1:])
    except UserError as error:
        return _complain(str(error))
    except BrokenPipeError:  # the reader has closed the pipe, as in `fgbg … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still tries to print at its end
        return EXIT_UNREAD
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:
        sentence = _explain_os_error(error, "go on with --resume" if argv[:1] == ["train"] else "run it again")
        if sentence is None:
            raise
        return _complain(sentence)


def _overview() -> str:
    about = "Binary segmentation that people can trust."
    verbs = "\n".join(f"  {name:10} {what}" for name, (_, what) in VERBS.items())
    return f"usage: fgbg COMMAND …\n\n{about}\n\n{verbs}\n\nfgbg COMMAND --help says more."


def _complain(sentence: str) -> int:
    print(f"fgbg: {sentence}", file=sys.stderr)
    return EXIT_MISTAKE


def _explain_os_error(error: OSError, go_on: str) -> str | None:
    """A sentence for errors of disk and permissions, with how to go on; None for those that the user cannot fix."""
    where = error.filename or "a file"
    return {
        errno.ENOSPC: f"no space left while writing {where}: free some, then {go_on}",
        errno.EDQUOT: f"the disk quota is used up while writing {where}: free some, then {go_on}",
        errno.EFBIG: f"{where} would be larger than this process or disk may have files: raise the limit (ulimit -f), "
        f"then {go_on}",
        errno.ENAMETOOLONG: f"{where}: the name is longer than a disk takes: shorten it",
        errno.EACCES: f"{where} may not be read or written: check its permissions",
        errno.EROFS: f"{where} is on a read-only disk: choose another place",
    }.get(error.errno or 0)
