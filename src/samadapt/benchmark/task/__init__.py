"""The task benchmark: learning one category from a few masks."""
