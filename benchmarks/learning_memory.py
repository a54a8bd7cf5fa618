"""Memory while a person accepts objects faster than the machine learns them.

    python benchmarks/learning_memory.py --accepts 1000

Opens generated images one after the other, clicks and accepts without waiting, and prints what the
process holds after every hundred objects, and how many were learned or wait.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np

from samadapt.adapters.online import OnlineAdapter
from samadapt.adapters.online.backlog import MOST_OBJECTS
from samadapt.models.registry import load
from samadapt.session.session import Session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--accepts", type=int, default=1000)
    parser.add_argument("--per-image", type=int, default=10)
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--model", default="nano")
    options = parser.parse_args()
    model = load(options.model)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "adapter"
        adapter = OnlineAdapter(background=True, autosave=place)
        session = Session(model, [adapter])
        began = time.monotonic()
        for number in range(options.accepts + 1):
            if number % 100 == 0:
                waiting = len(list((place / "waiting").glob("waiting-*")))
                size = sum(p.stat().st_size for p in (place / "waiting").glob("*"))
                row = {
                    "accepted": number,
                    "resident_mb": _resident(),
                    "learned": adapter.objects_learned,
                    "waiting": waiting,
                    "most_waiting": MOST_OBJECTS,
                    "disk_mb": round(size / 2**20, 1),
                    "seconds": round(time.monotonic() - began, 1),
                }
                print(json.dumps(row), flush=True)
            if number % options.per_image == 0:
                session.open(_picture(rng, options.side))
            x, y = rng.uniform(10, options.side - 10, 2)
            session.click(float(x), float(y))
            if not session.mask.any():
                session.skip()
                continue
            session.accept()
        adapter.close()


def _picture(rng: np.random.Generator, side: int) -> np.ndarray:
    """Blocks of random colours."""
    blocks = rng.integers(0, 255, (side // 64, side // 64, 3), np.uint8)
    return np.kron(blocks, np.ones((64, 64, 1), np.uint8))


def _resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024


if __name__ == "__main__":
    main()
