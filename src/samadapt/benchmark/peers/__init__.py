"""Peers: interactive segmentation without any training, under the robot's very same clicks."""
