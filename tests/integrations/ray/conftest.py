"""A small cluster for all tests of this folder: two cores, and a store that fills up quickly."""

from __future__ import annotations

import os
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
