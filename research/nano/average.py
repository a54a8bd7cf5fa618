"""The mean of several weights files that came from the same one.

    python -m research.nano.average a.safetensors b.safetensors --out mean.safetensors

Runs that start from the same weights end in the same basin of the loss; their mean is as good as a
longer cool-down (model soups, Wortsman et al. 2022).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from samadapt.errors import DataError
from samadapt.models.nano.weights import NanoWeights, read_weights, write_weights


def average(files: Sequence[Path], out: Path) -> NanoWeights:
    """Write the mean of `files`, statistics of batch norms included, and read it back.

    The mean records all runs that led to any of the files, and what it is the mean of.

    Raises:
        DataError: fewer than two files, or networks of different shape.
        CheckpointError: a file that is no weights of nano.
    """
    if len(files) < 2:
        raise DataError("a mean needs at least two weights files")
    given = [read_weights(path) for path in files]
    first = given[0].network
    for path, other in zip(files, given, strict=True):
        if other.network.config != first.config:
            raise DataError(f"{path} has another architecture than {files[0]}: no mean of the two")
    states = [weights.network.state_dict() for weights in given]
    mean = {
        name: sum(state[name] for state in states) / len(states)
        if value.is_floating_point()
        else value
        for name, value in states[0].items()
    }
    first.load_state_dict(mean)
    longest = max(given, key=lambda weights: len(weights.info.get("runs", [])))
    made = {"what": "mean of weights", "of": [weights.hash for weights in given]}
    runs = list(longest.info.get("runs", []))
    for weights in given:
        runs += [run for run in weights.info.get("runs", []) if run not in runs]
    info = {**longest.info, "runs": [*runs, made]}
    write_weights(first, out, info)
    return read_weights(out)


def main() -> None:
    """Average the files named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    made = average(arguments.files, arguments.out)
    print(f"{arguments.out}: {made.hash}")  # noqa: T201


if __name__ == "__main__":
    main()
