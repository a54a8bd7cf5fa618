"""`SessionOptions`: how a session turns clicks into prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from samadapt.errors import SessionError

Feedback = Literal["logits", "binary", "none"]
Default = Literal["score", "part"]


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """How a session turns clicks into prompts. Part of every log, so that a replay uses the same.

    Attributes:
        multimask: a single click without a box is ambiguous (whole, part, sub-part?). True asks
            for three candidates then, shows the one with the highest score and lets `choose`
            switch; False asks for one mask always. More clicks, or a box, mean one mask anyway.
        feedback: what every prompt after the object's first one carries of the mask shown before:
            "logits" its decoder logits (as SAM was trained), "binary" the mask itself, "none"
            nothing. A new box starts the mask afresh and carries nothing.
        undo_limit: how many actions on one object `undo` can take back; older ones are dropped
            so that memory stays bounded. 0 keeps nothing.
        default: which candidate a single click shows first. "score" the one with the highest
            score, as it is (benchmarks use this); "part" the best connected part under the click,
            see `samadapt.session.candidates.under_click`.
        retry: ask once more, without the mask shown before, when the answer to a further click
            does not follow all clicks; what follows more of them is kept.

    Raises:
        SessionError: a value that is none of these.
    """

    multimask: bool = True
    feedback: Feedback = "logits"
    undo_limit: int = 100
    default: Default = "score"
    retry: bool = False

    def __post_init__(self) -> None:
        if self.feedback not in get_args(Feedback):
            raise SessionError(
                f"session option feedback={self.feedback!r}: use one of {list(get_args(Feedback))}"
            )
        if self.default not in get_args(Default):
            raise SessionError(
                f"session option default={self.default!r}: use one of {list(get_args(Default))}"
            )
        if self.undo_limit < 0:
            raise SessionError(f"session option undo_limit={self.undo_limit}: use 0 or more")

    @classmethod
    def annotator(cls) -> SessionOptions:
        """As the annotator in the browser has them."""
        return cls(default="part", retry=True)
