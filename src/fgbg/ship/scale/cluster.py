"""Ray, as fgbg wants it: it tells nobody of its use, listens to this machine alone, and keeps to itself what it logs."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fgbg.errors import UserError

LOOPBACK_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch, on any system: at "0" it binds to 127.0.0.1, and otherwise to addresses that others reach."""

REACHED_SECONDS = 10.0  # until a machine counts as unreachable


def quieten() -> None:
    """Before Ray is imported: it would else count its users, by a message to its makers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A later import of a part of Ray would show its bars and notes, which would disturb our own.
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters comes as an exception, too


@contextmanager
def open_cluster(address: str, *, workers: int, threads: int, gpus: int = 0) -> Iterator[None]:
    """The cluster at an address, or one of this machine's own that ends with the block; Ray that runs already is used.

    Raises:
        UserError: There is none at that address, or it is too small for the workers.
    """
    quieten()
    if not address:
        os.environ.setdefault(LOOPBACK_ALONE, "0")
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
    if address:
        _require_reachable(address)
    own: dict[str, Any] = {} if address else {"num_cpus": cores, "include_dashboard": False}
    try:
        with _hush():
            ray.init(address=address or "local", **own, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        if not address:
            raise UserError(f"Ray cannot be started ({reason}): its notes are in /tmp/ray or RAY_TMPDIR") from None
        cure = "with tokens (the default of Ray 2.60), use --address auto there, or set RAY_AUTH_MODE=token"
        raise UserError(f"--address {address}: the cluster cannot be joined ({reason}): {cure}") from None


def _require_reachable(address: str) -> None:
    """Refuse an address at which nobody listens: Ray would try for minutes.

    Raises:
        UserError: Nobody does.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not port.isdecimal():
        return  # auto
    try:
        socket.create_connection((host, int(port)), timeout=REACHED_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise UserError(f"--address {address}: nobody answers there ({error}); ray start --head tells its own") from None


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
