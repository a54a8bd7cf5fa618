"""The robustness benchmark: prompts of every quality for the same objects."""
