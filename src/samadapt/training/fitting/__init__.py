"""The parts of `samadapt.fit`: training data, recipe, trainer and checkpoints."""
