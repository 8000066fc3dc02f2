"""Frozen, validated values. An option lives in one field; command line, TOML, help and report are drawn from it."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from fieldguide.errors import UsageProblem, allowed_names, plain

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every Settings: frozen, unknown names refused, every field described."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, use_attribute_docstrings=True)

    #: The field that the name part of a contestant fills (``backbone/resnet50`` sets `model`); None: the family takes no name.
    NAME_FIELD: ClassVar[str | None] = None

    @classmethod
    def tiny(cls) -> Self:
        """Return legal settings that run offline in seconds on a CPU."""
        return cls()


def build(kind: type[S], values: dict[str, Any], where: str) -> S:
    """Return `kind(**values)`; wrong names, types and values become a three-breath `UsageProblem` that names `where`."""
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        why = first["msg"].removeprefix("Value error, ")
        if not name:  # a rule over several settings, which says which ones
            given = f"{where}: {why}."
            allowed = " ".join(_field_help(kind, told) for told in kind.model_fields if re.search(rf"\b{told}\b", why))
            allowed = allowed or f"Allowed: {', '.join(kind.model_fields)}."
        elif first["type"] == "extra_forbidden":
            given = f"{where} has no setting called {plain(name)!r}."
            allowed = allowed_names(name, kind.model_fields, most=40)
        elif first["type"] == "missing":
            given = f"{where} needs the setting {name!r}."
            allowed = _field_help(kind, name)
        else:
            given = f"{where}: {name} = {plain(repr(first['input']))} is not possible: {why}."
            allowed = _field_help(kind, name)
        raise UsageProblem(
            given, allowed, "Correct that one; `fieldguide families` lists every setting with its default."
        ) from error


def _field_help(kind: type[Settings], name: str) -> str:
    field = kind.model_fields.get(name.split(".")[0])
    if field is None:
        return f"Allowed: {', '.join(kind.model_fields)}."
    default = "no default" if field.is_required() else f"default {field.default!r}"
    return f"Allowed: {type_name(field.annotation)} ({default}). {' '.join((field.description or '').split())}"


def type_name(annotation: Any) -> str:
    """Return a type as a person writes it: ``int``, ``'a' or 'b'``, ``float or None``."""
    import types
    import typing

    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return " or ".join(repr(option) for option in typing.get_args(annotation))
    if origin in (typing.Union, types.UnionType):
        return " or ".join("nothing" if arg is type(None) else type_name(arg) for arg in typing.get_args(annotation))
    if origin is typing.Annotated:
        return type_name(typing.get_args(annotation)[0])
    if origin is not None:
        inner = ", ".join(type_name(arg) for arg in typing.get_args(annotation) if arg is not Ellipsis)
        return f"{origin.__name__} of {inner}"
    return getattr(annotation, "__name__", str(annotation))
