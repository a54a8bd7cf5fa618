"""Killed at random moments, as a process of its own; `benchmarks/kill_server.py` does 200."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "kill_server.py"


def test_nothing_that_was_confirmed_is_lost() -> None:
    command = [sys.executable, str(SCRIPT), "--rounds", "2", "--longest", "0.9", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing lost" in done.stdout
