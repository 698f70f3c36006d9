"""The reference of all settings, made from their own definitions: what each means, what it may be, what it is else."""

import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from cluster.config import DEMO, GROUPS, PREFIX, Settings

NOT_SAID, SHIPPED = "—", "the shipped demo"
HEAD = """\
# Settings

Made by `greenflow settings --markdown`; the settings' own classes, from `cluster/config.py` on, are where to change it.
Each is a variable of the environment of `greenflow up`, and a field of `args` in a Serve config
([`serve.yaml`](serve.yaml)): `GREENFLOW_BATCH_MAX_ROWS` is `batch: {max_rows: 64}` there. A variable that is nearly one
of these is refused, and so is a value that it may not have.
"""
LARGE = 1e15
"""A bound beyond it says nothing to people."""
PLAIN = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "a text"}
FORMATS = {"path": "a path", "password": "a secret"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One of them.

    group    the group it is of, "" for none
    default  what it is where nobody says anything; NOT_SAID where that is nothing, and `meaning` says what holds then
    may_be   the values it may have
    """

    group: str
    field: str
    default: str
    may_be: str
    meaning: str

    @property
    def variable(self) -> str:
        """In the environment."""
        return PREFIX + "_".join(part for part in (self.group, self.field) if part).upper()

    @property
    def argument(self) -> str:
        """In the `args` of a Serve config."""
        return ".".join(part for part in (self.group, self.field) if part)


def settings() -> tuple[Setting, ...]:
    """All of them, those of no group first."""
    return (*_of("", Settings), *(one for group, model in GROUPS.items() for one in _of(group, model)))


def settings_markdown() -> str:
    """The reference, as Markdown."""
    found = settings()
    parts = [HEAD]
    for group in dict.fromkeys(one.group for one in found):
        title = f"`{group}`: {about(group)}" if group else "The application"
        rows = (_row(one) for one in found if one.group == group)
        parts.append(f"\n## {title}\n\n| variable | default | may be | meaning |\n|---|---|---|---|\n{''.join(rows)}")
    return "".join(parts)


def about(group: str) -> str:
    """What the settings of a group are about, as those of the application have it."""
    return meanings_of(Settings)[group]


def _of(group: str, model: type[BaseModel]) -> Iterator[Setting]:
    schema, meanings = model.model_json_schema(), meanings_of(model)
    for field, info in model.model_fields.items():
        if group or field not in GROUPS:
            values = may_be(schema["properties"][field], schema.get("$defs", {}))
            yield Setting(group, field, _said(info.default), values, meanings[field])


def meanings_of(model: type[BaseModel]) -> dict[str, str]:
    """What a model's docstring says of its fields: lines that begin with a name, and what is indented below."""
    found: dict[str, str] = {}
    field = ""
    for line in inspect.cleandoc(model.__doc__ or "").splitlines():
        first, _, rest = line.partition(" ")
        if first in model.model_fields and rest.strip():
            field, found[first] = first, rest.strip()
        elif field and line.startswith("  "):
            found[field] += f" {line.strip()}"
        elif line.strip():
            field = ""
    return found


def may_be(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """A field's JSON schema, in words."""
    if "$ref" in schema:
        return may_be(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "enum" in schema:
        return ", ".join(str(value) for value in schema["enum"])
    if "const" in schema:
        return str(schema["const"])
    if "anyOf" in schema:
        return "; or ".join(may_be(one, definitions) for one in schema["anyOf"] if one.get("type") != "null")
    if schema["type"] == "array":
        return f"some of {may_be(schema['items'], definitions)}, by commas"
    kind = FORMATS.get(schema.get("format", ""), PLAIN[schema["type"]])
    if "maxLength" in schema:
        return f"{kind} of {_range(schema.get('minLength', 0), None, schema['maxLength'])} characters"
    bounds = _range(schema.get("minimum"), schema.get("exclusiveMinimum"), schema.get("maximum"))
    return f"{kind}, {bounds}" if bounds else kind


def _range(least: float | None, above: float | None, most: float | None) -> str:
    most = None if most is None or most > LARGE else most
    if least is not None:
        return f"{least:,} or more" if most is None else f"{least:,} to {most:,}"
    parts = ("" if above is None else f"above {above:,}", "" if most is None else f"{most:,} at most")
    return ", ".join(part for part in parts if part)


def _said(default: object) -> str:
    if default == DEMO:
        return SHIPPED
    if default is None or default == "":
        return NOT_SAID
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default)


def _row(one: Setting) -> str:
    default = one.default if one.default in (NOT_SAID, SHIPPED) else f"`{one.default}`"
    return f"| `{one.variable}` | {default} | {one.may_be} | {one.meaning} |\n"
