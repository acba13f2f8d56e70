"""From what a report says to one HTML file: everything inside, everything escaped, nothing fetched."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

SCRIPTS = ("dom", "theme", "scales", "chart", "curves", "points", "layers", "viewer", "main")
"""In the order in which they build on each other."""


def render(context: Mapping[str, Any], data: Mapping[str, Any], gallery: Mapping[str, Any] | None) -> str:
    """The page.

    Args:
        context: what ``page.html`` names; text, which is escaped.
        data: of the curves. gallery: of the viewer; None leaves it out. Both JSON-ready.
    """
    css, script = _part("page.css"), _script()
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_part("page.html")).render(
        **context,
        policy=_policy(css, script),
        css=Markup(css),
        js=Markup(script),
        data=_embedded(data),
        gallery=None if gallery is None else _embedded(gallery),
    )


def _part(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    parts = "\n".join(_part(f"js/{name}.js") for name in SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();\n'


def _policy(css: str, script: str) -> str:
    """A policy under which the browser itself refuses any connection, and any script but ours."""
    style, code = (_digest(text) for text in (css, script))
    return f"default-src 'none'; img-src data:; style-src '{style}'; script-src '{code}'; base-uri 'none'"


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _embedded(data: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the element it stands in."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
