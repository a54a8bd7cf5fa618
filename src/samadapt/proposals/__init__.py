"""Proposals: objects that are found without a click on each."""
