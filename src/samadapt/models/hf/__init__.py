"""SAM, SAM-HQ, SAM 2 and the SAM 3 tracker on top of transformers."""

from samadapt.models.hf.family import known, like, load, load_memory, matches
from samadapt.models.hf.known import NAMES
from samadapt.models.registry import register_family

register_family(
    matches,
    load,
    names=NAMES,
    listing=known,
    like=like,
    load_memory=load_memory,
    is_fallback=True,
)
