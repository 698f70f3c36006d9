"""Joins the page's parts into one document that fetches nothing but the application's own data.

Scripts are ES modules, so that each says what it needs. A module becomes a function here: browsers then run them as one
script, whose hash `cluster.live.document` names. Nothing is minified: compressed it is small enough, and who looks
at the source of a page about energy may read it.
"""

import json
import re
from pathlib import Path

from allocator.limits import UNITS

HERE = Path(__file__).parent
STYLES = ("vendor/uPlot.min.css", "styles/tokens.css", "styles/base.css", "styles/parts.css", "styles/page.css")
VENDOR, MAIN = "vendor/uPlot.iife.min.js", "main"
IMPORT = re.compile(r'^import \{ (?P<names>[^}]+) \} from "\./(?P<module>\w+)\.js";$', re.MULTILINE)
EXPORT = re.compile(r"^export (?P<what>(?:async )?function|class|const) (?P<name>\w+)", re.MULTILINE)


def page() -> bytes:
    """The document, in UTF-8."""
    text = _text("index.html")
    for name, part in {**_parts(), "facts": _facts()}.items():
        text = text.replace(f"<!-- {name} -->", part)
    return text.encode()


def _parts() -> dict[str, str]:
    return {
        "style": "\n".join(_text(name) for name in STYLES),
        "vendor": _text(VENDOR),
        "script": "\n".join(_wrapped(name) for name in _in_order(MAIN, [])),
    }


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _in_order(module: str, before: list[str]) -> list[str]:
    """Modules, each after those that it needs."""
    for needed in IMPORT.finditer(_text(f"scripts/{module}.js")):
        if needed["module"] not in before:
            _in_order(needed["module"], before)
    if module not in before:
        before.append(module)
    return before


def _wrapped(module: str) -> str:
    """The module as a function that gives what it exports, so that names of its own stay its own."""
    source = _text(f"scripts/{module}.js")
    names = ", ".join(export["name"] for export in EXPORT.finditer(source))
    body = EXPORT.sub(r"\g<what> \g<name>", IMPORT.sub(r"const { \g<names> } = _\g<module>;", source))
    return f"const _{module} = (() => {{\n{body}return {{ {names} }};\n}})();\n"


def _facts() -> str:
    """What the page need not ask for: the units that go with each kind of limit."""
    return json.dumps({"units": {kind.value: list(units) for kind, units in UNITS.items()}})
