"""Parts that several families share: checkpoints, SAM's parts by transformers, input geometry.

No family by itself, so nothing is registered here.
"""
