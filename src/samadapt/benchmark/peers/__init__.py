"""The comparison of a model with baselines that need no training, under the same clicks."""
