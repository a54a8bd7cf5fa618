"""`Matching`: texts of requests that must match a pattern, and are refused in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


@dataclass(frozen=True, slots=True)
class Matching:
    """Annotation of a text that must match a pattern.

    Attributes:
        pattern: regular expression, which the description of the routes shows.
        wanted: what to give instead of a text that does not match.
    """

    pattern: str
    wanted: str

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        """Return the check as pydantic runs it."""
        text = core_schema.str_schema(pattern=self.pattern)
        return core_schema.no_info_wrap_validator_function(self._checked, text)

    def _checked(self, value: Any, check: core_schema.ValidatorFunctionWrapHandler) -> Any:
        try:
            return check(value)
        except ValidationError:
            raise PydanticCustomError(
                "matching", "give {wanted}", {"wanted": self.wanted}
            ) from None
