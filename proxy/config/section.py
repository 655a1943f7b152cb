"""What every section is made of.

A class is one mapping of the file, a field one key.  All are frozen, refuse unknown keys and take YAML's types as they
are: the text ``"4000"`` is not a number.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, model_validator

Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
Address = Annotated[str, AfterValidator(lambda text: text.rstrip("/"))]
Usd = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Texts = Annotated[tuple[str, ...], Strict(False)]  # YAML has lists, frozen settings have tuples


class Section(BaseModel):
    """A mapping of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return without_nulls(value)


def without_nulls(value: object) -> object:
    """``value`` as if its empty keys (``models:`` with nothing behind it) were not there; the defaults then apply."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {key: item for key, item in value.items() if item is not None}
    return value
