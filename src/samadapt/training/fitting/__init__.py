"""The parts of `samadapt.fit`: what to train on, how, and how to go on after an interruption."""
