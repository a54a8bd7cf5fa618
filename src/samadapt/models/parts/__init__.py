"""Parts that several families share: checkpoints, SAM's parts by transformers, input geometry.

This folder is no family, so nothing is registered here.
"""
