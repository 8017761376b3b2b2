"""Device, precision, threads and processes of a training.

Hugging Face Accelerate places the model, wraps it for several processes, autocasts and runs the backward pass. Everything
else that it offers (data loaders, saving, metrics) is done by fgbg's own code.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import InitProcessGroupKwargs, gather_object
from numpy.typing import NDArray
from torch import Tensor, nn

from fgbg.cores import count_cores
from fgbg.errors import UserError
from fgbg.words import plural

Row = TypeVar("Row")
Shared = TypeVar("Shared", range, NDArray[np.int64])
DEVICES = ("auto", "cpu", "cuda", "cuda:N", "mps")
# Processes wait for each other while one decodes a whole data set; NCCL, by its own default, gives up after ten minutes.
LONGEST_WAIT = timedelta(days=1)


class Engine:
    """Where and how this process computes.

    Attributes:
        device: The device of this process.
        precision: Training precision: `fp32` or `bf16`. Scoring is always fp32.
        threads: CPU threads of this process.
        processes: Number of processes that work on this run.
        rank: Index of this process, from 0.

    Raises:
        UserError: The device does not exist here, or is one GPU for several processes, or cannot compute in the precision
            asked for, or the processes that were started do not find each other.
    """

    def __init__(self, device: str = "auto", precision: str = "auto", threads: int = 0) -> None:
        wanted = resolve_device(device)
        self.precision = _resolve_precision(precision, wanted)
        # TensorFloat-32 products are not fp32; bf16 training loses nothing by this.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.deterministic = True  # a resumed run must end with the same weights
        self._accelerator = _start_accelerator(wanted, self.precision)
        # After Accelerate, which sets the thread count of torchrun's processes by its own rule; the last bit of a sum
        # may depend on it.
        self.threads = threads or _share_of_cores()
        torch.set_num_threads(self.threads)
        self.device: torch.device = self._accelerator.device
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)  # for what names no device, such as pinned memory
        self.processes: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index
        self._launcher = os.getppid()

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes and prints."""
        return self.rank == 0

    @property
    def is_first_of_machine(self) -> bool:
        """Whether this process is the one of its machine that does what is to be done once on each."""
        return bool(self._accelerator.is_local_main_process)

    @property
    def processor(self) -> str:
        """Name of the GPU, or of the CPU as `name_cpu` finds it."""
        return torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else name_cpu()

    def describe(self) -> str:
        """Device, precision, threads and processes, in a few words."""
        name = self.processor if self.device.type == "cuda" else self.device.type
        words = [name, f"training in {self.precision}", plural(self.threads, "thread")]
        return ", ".join(words + ([f"{self.processes} processes"] if self.processes > 1 else []))

    def prepare(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, *, sync_norms: bool = False
    ) -> tuple[nn.Module, torch.optim.Optimizer]:
        """The module and optimizer for training: on the device, autocast, gradients averaged over processes.

        Args:
            module: The module to train.
            optimizer: The optimizer of its weights.
            sync_norms: Let batch norms use the images of all processes. Weights keep their names and identity.

        Raises:
            UserError: `sync_norms` on another device than a CUDA GPU; torch has no such norms there.
        """
        if sync_norms:
            if self.device.type != "cuda":
                raise UserError(f"--sync-norms: torch has it for CUDA GPUs only, not for {self.device.type}; leave it out")
            module = nn.SyncBatchNorm.convert_sync_batchnorm(module)
        return self._accelerator.prepare(module, optimizer)

    def backward(self, loss: Tensor) -> None:
        """Gradients of a scalar loss."""
        self._accelerator.backward(loss)

    def sharing_gradients(self, module: nn.Module, *, when: bool) -> AbstractContextManager[Any]:
        """Context in which a backward pass averages gradients over processes, or (`when` is False) keeps them local."""
        return nullcontext() if when else self._accelerator.no_sync(module)

    def clip_gradients(self, module: nn.Module, norm: float) -> None:
        """Clip the module's gradient, over all weights together, to at most this norm."""
        self._accelerator.clip_grad_norm_(module.parameters(), norm)

    def share(self, items: Shared) -> Shared:
        """This process's part of `items`: every n-th. Together the processes cover each item once."""
        return items[self.rank :: self.processes]

    def gather(
        self, rows: Sequence[Row], identify: Callable[[Row], Hashable], *, expected: Iterable[Hashable] | None = None
    ) -> list[Row]:
        """The rows of all processes, on every process.

        Args:
            rows: This process's.
            identify: What a row is known by.
            expected: All that there must be.

        Raises:
            RuntimeError: Two processes computed the same row, or not all were computed.
        """
        everywhere: list[Row] = gather_object(list(rows)) if self.processes > 1 else list(rows)
        names = [identify(row) for row in everywhere]
        if len(set(names)) < len(names) or (expected is not None and set(names) != set(expected)):
            raise RuntimeError("processes computed the same rows, or left some out: they do not share the work")
        return everywhere

    def sum(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The element-wise sum over processes."""
        if self.processes == 1:
            return values
        return self._accelerator.reduce(torch.tensor(values, device=self.device), "sum").cpu().numpy()

    def align_buffers(self, module: nn.Module) -> None:
        """Copy the main process's buffers to all: running statistics differ between processes, scores must not."""
        if self.processes > 1:
            for buffer in module.buffers():
                torch.distributed.broadcast(buffer, 0)

    def wait(self) -> None:
        """Wait until all processes are here."""
        self._accelerator.wait_for_everyone()

    @property
    def has_lost_its_launcher(self) -> bool:
        """Whether the launcher of this run's processes has died, so that nobody would see them end."""
        return self.processes > 1 and os.getppid() != self._launcher

    def has_lost_another(self, error: RuntimeError) -> bool:
        """Whether the error means that another process of this run no longer responds."""
        # Gloo, the backend on CPUs, has no error class of its own, but its messages name its source file.
        return self.processes > 1 and (isinstance(error, torch.distributed.DistError) or "gloo/" in str(error))

    def wait_for_device(self) -> None:
        """Return once a GPU has done all that it was asked for, copies to this process's memory included."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def free_bytes(self) -> int:
        """Free memory on the device; 0 on a CPU, where memory-mapped files need no copy."""
        return torch.cuda.mem_get_info(self.device)[0] if self.device.type == "cuda" else 0


def leave_processes(status: int) -> NoReturn:
    """Flush all output and exit at once with this status, skipping Python's own shutdown.

    After a run in several processes that shutdown sometimes aborts in Gloo's threads ("terminate called without an active
    exception"; about one exit in ten with torch 2.15 on a CPU), and a finished run would count as failed.
    """
    if torch.distributed.is_initialized() and status == 0:
        torch.distributed.barrier()  # no process exits while another still communicates with it
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def count_processes() -> int:
    """How many processes a launcher such as torchrun started for this one's work; 1 without a launcher."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def _start_accelerator(device: torch.device, precision: str) -> Accelerator:
    world = count_processes()
    if world > 1 and device.index is not None:  # which Accelerate would pass over
        raise UserError(f"--device {device}: {world} processes use a GPU each: give --device cuda")
    # Accelerate keeps its settings for the life of the process; a later run in it may need others. Processes that have found
    # each other stay together.
    AcceleratorState._reset_state(reset_partial_state=world == 1)
    if world == 1:
        os.environ["ACCELERATE_TORCH_DEVICE"] = str(device)
    # `cpu=True` must be explicit: torchrun on a CPU would otherwise silently start separate one-process trainings.
    accelerator = Accelerator(
        cpu=device.type == "cpu",
        mixed_precision="bf16" if precision == "bf16" else "no",
        kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
    )
    if accelerator.num_processes != world:
        raise UserError(
            f"{world} processes were started, but only {accelerator.num_processes} found each other: "
            "start them with torchrun --nproc-per-node N -m fgbg …"
        )
    return accelerator


def resolve_device(name: str) -> torch.device:
    """The device of that name; `auto` is the fastest one here.

    Raises:
        UserError: No such device.
    """
    mps = torch.backends.mps.is_available()
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "mps" if mps else "cpu")
    kind, separator, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (separator and not (kind == "cuda" and index.isdigit())):
        raise UserError(f"--device {name}: choose one of {', '.join(DEVICES)}")
    if kind == "cuda" and (not torch.cuda.is_available() or int(index or 0) >= torch.cuda.device_count()):
        raise UserError(f"--device {name}: this machine has {torch.cuda.device_count()} CUDA devices; use --device auto")
    if kind == "mps" and not mps:
        raise UserError("--device mps: this machine has none; use --device auto")
    return torch.device(name)


def _resolve_precision(precision: str, device: torch.device) -> str:
    if precision == "auto":
        return "bf16" if _has_bf16(device) else "fp32"
    if precision == "bf16" and device.type == "mps":
        raise UserError("--precision bf16: not on mps; use --precision auto")
    return precision


def name_cpu() -> str:
    """The CPU's model name, or its architecture where the system does not report one."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text(encoding="utf-8").splitlines() if told.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _has_bf16(device: torch.device) -> bool:
    """Whether the device multiplies in bf16; emulated bf16 is slower than fp32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8  # Ampere
    if device.type != "cpu":
        return False
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _share_of_cores() -> int:
    """This process's share of the cores it may use. torchrun's default is one thread per process."""
    return max(1, count_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
