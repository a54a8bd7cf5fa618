"""MobileSAM and Light HQ-SAM: SAM's decoder on a small image encoder, TinyViT."""

from samadapt.models.mobile_sam.family import NAMES, known, like, load, matches
from samadapt.models.registry import register_family

register_family(matches, load, names=NAMES, listing=known, like=like)
