"""What may stand at a place of the configuration, read off the annotations of ``Config`` and its sections."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel

Path = tuple[str | int, ...]
"""Where a value stands: keys, and indexes of list items from 0."""


def plain(annotation: Any) -> Any:
    """``annotation`` without ``Annotated`` and ``| None``."""
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation = get_args(annotation)[0]
        elif origin in (Union, types.UnionType):
            (annotation,) = (member for member in get_args(annotation) if member is not types.NoneType)
        else:
            return annotation


def fields(annotation: Any) -> tuple[str, ...]:
    """The keys that a section may have; empty for anything that is not a section."""
    annotation = plain(annotation)
    return tuple(annotation.model_fields) if is_section(annotation) else ()


def child(annotation: Any, key: str | int) -> Any:
    """The annotation of what ``key`` leads to; ``None`` if it leads nowhere."""
    annotation = plain(annotation)
    if is_section(annotation):
        field = annotation.model_fields.get(key)
        return None if field is None else field.rebuild_annotation()
    if is_mapping(annotation):
        return get_args(annotation)[1]
    if is_list(annotation):
        return get_args(annotation)[0]
    return None


def at(annotation: Any, path: Path) -> Any:
    """The annotation of what ``path`` leads to; ``None`` if it leads nowhere."""
    for key in path:
        annotation = child(annotation, key)
        if annotation is None:
            return None
    return annotation


def is_section(annotation: Any) -> bool:
    """Whether it is a mapping with fixed keys."""
    annotation = plain(annotation)
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def is_mapping(annotation: Any) -> bool:
    """Whether it is a mapping with names that the user chooses."""
    return get_origin(plain(annotation)) is Mapping


def is_list(annotation: Any) -> bool:
    """Whether it is a list."""
    return get_origin(plain(annotation)) is tuple


def choices(annotation: Any) -> tuple[str, ...]:
    """The allowed texts; empty where any will do."""
    annotation = plain(annotation)
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def dotted(path: Path) -> str:
    """``path`` as people write it: ``models."gpt-4.1".targets[0]``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            name = f'"{key}"' if not key or any(char in key for char in " .[]") else key
            text += f".{name}" if text else name
    return text
