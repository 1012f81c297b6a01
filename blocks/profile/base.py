"""What every object of the configuration has: a name, attributes as text, and rules.

`parse` builds an object from the operator's text and says everything that is wrong at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError, model_validator

from blocks.errors import ProfileError
from blocks.profile import attributes as kinds

Fault = tuple[str, str]
"""The attribute's name, and what is wrong with it."""


class Configured(BaseModel):
    """One object of the configuration, named; everything else is an attribute."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    element: ClassVar[str] = ""
    """Its class on the command line and in the XML."""

    name: kinds.Name

    @classmethod
    def rules(cls, values: Mapping[str, Any]) -> Iterator[Fault]:
        """Yield what is wrong between attributes; `values` lacks those that are wrong already."""
        yield from ()

    @model_validator(mode="after")
    def _follow_the_rules(self) -> Self:
        faults = list(self.rules(dict(self)))
        if faults:
            raise ValueError("; ".join(f"{label}: {text}" for label, text in faults))
        return self

    @classmethod
    def labels(cls) -> dict[str, str]:
        """Return every attribute's name with its field's, in the order they are printed."""
        return {
            field.alias: field_name
            for field_name, field in cls.model_fields.items()
            if field.alias is not None
        }

    @classmethod
    def foreign(cls, values: Mapping[str, Any]) -> Mapping[str, str]:
        """Return attributes that mean nothing beside these values, with what they would need.

        They are neither printed nor accepted.
        """
        return {}

    def attributes(self, *, only_set: bool = False) -> dict[str, str]:
        """Return the attributes as text, in canonical spelling.

        Args:
            only_set: leave out those the operator never gave, whose default holds.
        """
        printed = self.model_dump(mode="json", by_alias=True)
        foreign = self.foreign(dict(self))
        return {
            label: "" if printed[label] is None else str(printed[label])
            for label, field in self.labels().items()
            if label not in foreign and (not only_set or field in self.model_fields_set)
        }

    @property
    def title(self) -> str:
        """Its class and name, for messages."""
        return f"{self.element} {self.name}"


C = TypeVar("C", bound=Configured)


@cache
def _adapter(model: type[Configured], field_name: str) -> TypeAdapter[Any]:
    field = model.model_fields[field_name]
    assert field.annotation is not None
    if not field.metadata:
        return TypeAdapter(field.annotation)
    return TypeAdapter(Annotated[field.annotation, *field.metadata])  # type: ignore[arg-type]


def reason(error: ValidationError) -> str:
    """Return what the first fault of a validation is, without pydantic's wording."""
    fault = error.errors()[0]
    if fault["type"] in {"too_short", "string_too_short"}:
        return "must not be empty"
    return str(fault["msg"]).removeprefix("Value error, ")


def parse(model: type[C], name: str, given: Mapping[str, str]) -> C:
    """Build an object from the operator's text.

    Args:
        model: its class.
        name: the object's name.
        given: attributes as typed; names in any case; an empty value means "not given".

    Raises:
        ProfileError: everything that is wrong, by attribute.
    """
    values, faults = _read_values(model, name, given)
    labels = model.labels()
    wrong = {label for label, _ in faults}
    for label, needed in model.foreign(values).items():
        if values.pop(labels[label], None) is not None or label in wrong:
            faults.append((label, f"only with {needed}"))
            wrong.add(label)
    known = dict(values)
    for label, field_name in labels.items():
        field = model.model_fields[field_name]
        if field_name in known or label in wrong:
            continue
        if field.is_required():
            faults.append((label, "required"))
        else:
            known[field_name] = field.get_default()
    faults.extend(model.rules(known))
    if faults:
        lines = list(dict.fromkeys(f"{label}: {text}" for label, text in faults))
        raise ProfileError(lines, where=f"{model.element} {name}")
    return model(**values)


def _read_values(
    model: type[Configured], name: str, given: Mapping[str, str]
) -> tuple[dict[str, Any], list[Fault]]:
    labels = model.labels()
    values: dict[str, Any] = {}
    faults: list[Fault] = []
    try:
        values["name"] = _adapter(model, "name").validate_python(name)
    except ValidationError as error:
        faults.append(("name", reason(error)))
    for typed, text in given.items():
        label = typed.upper()
        if label not in labels:
            faults.append((label, "no such attribute" + did_you_mean(label, labels)))
        elif text.strip():
            try:
                values[labels[label]] = _adapter(model, labels[label]).validate_python(text)
            except ValidationError as error:
                faults.append((label, reason(error)))
    return values, faults


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean X?`, or nothing if nothing known is like the word."""
    choices = {choice.lower(): choice for choice in known}
    close = difflib.get_close_matches(word.lower(), choices, n=1, cutoff=0.6)
    return f"; did you mean {choices[close[0]]}?" if close else ""
