"""The task benchmark: what a model learns from a few masks of one category."""
