"""A small cluster for all tests of this folder: two cores, and a store that fills up quickly."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# Workers import the helpers of these tests, as this process does.
_TESTS = str(Path(__file__).resolve().parents[2])
os.environ["PYTHONPATH"] = os.pathsep.join(
    filter(None, [_TESTS, str(Path(_TESTS).parent / "src"), os.environ.get("PYTHONPATH")])
)
# On a busy machine a worker takes long to begin.
os.environ.setdefault("RAY_worker_register_timeout_seconds", "300")
os.environ.pop("OMP_NUM_THREADS", None)  # Ray sets it to the cores of each worker

STORE_BYTES = 80 << 20
SECONDS = 180
"""Of a test, on a busy machine too: a cluster that hangs fails the test rather than the run."""


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """A test that takes too long fails; if even that does not end it, the process does."""

    def fail(*_: object) -> None:
        raise TimeoutError(f"the test took more than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    faulthandler.dump_traceback_later(SECONDS + 60, exit=True)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="session", autouse=True)
def cluster() -> Iterator[str]:
    """The cluster's address."""
    from samadapt.distributed.ray_engine import import_ray, quiet_ray

    sys.path.insert(0, _TESTS)
    ray = import_ray()
    with quiet_ray():
        context = ray.init(
            address="local",
            num_cpus=2,
            object_store_memory=STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
        )
    yield context.address_info["gcs_address"]
    ray.shutdown()
