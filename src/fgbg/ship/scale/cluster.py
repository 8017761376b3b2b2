"""Ray, as fgbg wants it: it tells nobody of its use, listens to this machine alone, and keeps to itself what it logs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fgbg.errors import UserError

LOCAL_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # whatever the system: without it Ray binds to all of its addresses
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # on the terminal: what matters comes as an exception, too
}


def quieten() -> None:
    """Before Ray is imported: it would else count its users, by a message to its makers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A later import of a part of Ray would show its bars and notes, which would disturb our own.
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")


@contextmanager
def open_cluster(address: str, *, workers: int, threads: int, gpus: int = 0) -> Iterator[None]:
    """The cluster at an address, or one of this machine's own that ends with the block; Ray that runs already is used.

    Raises:
        UserError: There is none at that address, or it is too small for the workers.
    """
    quieten()
    if not address:
        for name, value in LOCAL_SETTINGS.items():
            os.environ.setdefault(name, value)
    import ray

    cores = workers * threads + 1  # one reads while all workers compute
    ours = not ray.is_initialized()
    if ours:
        _start(address, cores=cores)
    try:
        held = ray.cluster_resources()
        for what, wanted, name in (("CPU", cores, "cores"), ("GPU", gpus, "GPUs")):
            if held.get(what, 0) < wanted:
                raise UserError(
                    f"--workers {workers} needs {wanted} {name}, and the cluster has {held.get(what, 0):g}: take fewer"
                )
        yield
    finally:
        if ours:
            ray.shutdown()


def _start(address: str, *, cores: int) -> None:
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    own: dict[str, Any] = {} if address else {"num_cpus": cores, "include_dashboard": False}
    try:
        with _hush():
            ray.init(address=address or "local", **own, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"--address {address or 'of this machine'}: Ray cannot be reached or started ({reason})") from None


@contextmanager
def _hush() -> Iterator[None]:
    """Nothing comes to the terminal: Ray's core greets there, past Python, with the level of what it will not say."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
