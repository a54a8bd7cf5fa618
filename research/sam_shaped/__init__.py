"""A SAM-shaped base: nano's frozen image encoder, and a mask decoder exactly like SAM's.

Importing it makes folders of such models known to `samadapt.load`;
`python -m research.sam_shaped ...` is `samadapt` that knows them.
"""

from research.sam_shaped.family import load, matches
from samadapt.models.registry import register_family

register_family(matches, load)
