"""Propagation of objects from slice to slice of a stack, filling, and learning on the way."""
