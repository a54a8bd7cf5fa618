"""Proposals: objects that are found without a click for each."""
