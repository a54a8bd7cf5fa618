"""Research: training of the shipped models, experiments and measurements; not in the wheel."""
