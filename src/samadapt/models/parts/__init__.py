"""What several families share: reading checkpoints, SAM's parts by transformers, geometry of input.

No family by itself, so nothing is registered here.
"""
