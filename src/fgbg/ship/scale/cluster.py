"""Ray, set up for fgbg: it reports no usage, listens to this machine alone, and prints no logs."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fgbg.errors import UserError, first_line

LOOPBACK_ALONE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray's switch, on any system: with "0" it binds to 127.0.0.1, otherwise to addresses that others can reach."""

REACHED_SECONDS = 10.0  # until a machine counts as unreachable


def quieten() -> None:
    """Call before Ray is imported: it would otherwise report its use to its makers."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # A part of Ray that is imported later would show its bars and notes between our own.
    for name in ("ray", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "CRITICAL")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what matters is also raised as an exception


@contextmanager
def open_cluster(address: str, *, workers: int, threads: int, gpus: int = 0) -> Iterator[None]:
    """The cluster at an address, or one on this machine that ends with the block; Ray that is already initialised is used.

    Raises:
        UserError: There is none at that address, or it is too small for the workers.
    """
    quieten()
    if not address:
        os.environ.setdefault(LOOPBACK_ALONE, "0")
    import ray

    cores = workers * threads + 1  # one core reads while all workers compute
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
        reason = first_line(error)
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
    """Silence stderr below Python: Ray's core writes a greeting there about its own log level."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
