"""Write the averaged weights of a run as a folder: `python -m research.sam_shaped.export`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

from research.sam_shaped.folder import write_folder
from research.sam_shaped.network import build_network
from research.sam_shaped.train import CHECKPOINT
from samadapt.models.nano.config import NanoConfig


def export(run: Path, out: Path) -> tuple[int, float]:
    """Write the folder; steps and minutes of the run so far."""
    state: dict[str, Any] = torch.load(run / CHECKPOINT, weights_only=True, map_location="cpu")
    network = build_network(NanoConfig())
    network.load_state_dict(state["average"])
    write_folder(network, out)
    return int(state["step"]), float(state["minutes"])


def main() -> None:
    """Export a run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    step, minutes = export(arguments.run, arguments.out)
    print(f"wrote {arguments.out}: {step} steps, {minutes:.0f} minutes")  # noqa: T201


if __name__ == "__main__":
    main()
