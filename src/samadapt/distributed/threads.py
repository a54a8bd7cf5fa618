"""Number of threads of a worker."""

from __future__ import annotations

import os

import cv2
import torch


def one_thread_per_core() -> None:
    """Compute with one thread per core of this worker: one, unless Ray gave it more.

    Ray sets OMP_NUM_THREADS to an actor's `num_cpus`; torch needs its own setting.
    """
    given = os.environ.get("OMP_NUM_THREADS", "1")
    torch.set_num_threads(int(given) if given.isdecimal() and int(given) else 1)
    cv2.setNumThreads(1)
