"""nano: the small model that ships with samadapt."""

from samadapt.models.nano.family import known, load, matches
from samadapt.models.registry import register_family

register_family(
    matches,
    load,
    names=("nano",),
    listing=known,
    is_reserved=True,
)
