"""`SessionOptions`: settings by which a session turns clicks into prompts."""

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
        multimask: a single click without a box is ambiguous (whole, part, sub-part?). True
            predicts three candidates for it, shows the one with the highest score and allows
            `choose`; False always predicts one mask. Several clicks, or a box, give one mask.
        feedback: form of the last mask in every prompt after the object's first one: "logits" for
            its decoder logits (as SAM was trained), "binary" for the mask itself, "none" for no
            mask. A new box starts without a mask.
        undo_limit: number of actions that `undo` can take back; older ones are dropped to bound
            the memory. 0 keeps none.
        default: the candidate of a single click that is shown first. "score" is the one with the
            highest score, unchanged (used in benchmarks); "part" is the best connected part under
            the click, see `samadapt.session.candidates.under_click`.
        retry: predict again without the last mask when the prediction for a further click
            violates clicks, and keep the one that violates fewer.

    Raises:
        SessionError: an invalid value.
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
        """The options of the annotator in the browser."""
        return cls(default="part", retry=True)
