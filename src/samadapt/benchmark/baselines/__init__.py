"""Baselines: interactive segmentation without any training, under the robot's clicks."""
