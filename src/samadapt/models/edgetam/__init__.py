"""EdgeTAM on single images: SAM 2's decoder on a small image encoder, RepViT."""

from samadapt.models.edgetam.family import NAMES, known, like, load, matches
from samadapt.models.registry import register_family

register_family(matches, load, names=NAMES, listing=known, like=like)
