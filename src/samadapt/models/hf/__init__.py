"""SAM, SAM-HQ, SAM 2 and the SAM 3 tracker on top of transformers."""

from samadapt.models.hf.family import NAMES, known, load, matches
from samadapt.models.registry import register_family

register_family(matches, load, names=NAMES, listing=known, is_fallback=True)
