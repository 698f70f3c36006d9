"""The page as it is sent: compressed once, named by its content, and allowed to run nothing but what it holds. Pure."""

import base64
import gzip
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass

_BLOCK = re.compile(rb"<(style|script)\b[^>]*>(.*?)</\1\s*>", re.DOTALL | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """An HTML document that is all in one file.

    headers  that go with every answer
    """

    plain: bytes
    gzipped: bytes
    headers: Mapping[str, str]

    @classmethod
    def of(cls, html: bytes) -> "Document":
        """The document, with what it needs: `html` is UTF-8."""
        tag = hashlib.sha256(html).hexdigest()[:32]
        headers = {
            "ETag": f'"{tag}"',
            "Cache-Control": "no-cache",  # asked for anew every time, and sent anew where it has changed
            "Vary": "Accept-Encoding",
            "Content-Security-Policy": content_policy(html),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        return cls(html, gzip.compress(html, 9, mtime=0), headers)

    def is_known_by(self, if_none_match: str) -> bool:
        """Whether a browser that says this has it already."""
        known = [one.strip().removeprefix("W/") for one in if_none_match.split(",")]
        return "*" in known or self.headers["ETag"] in known


def content_policy(html: bytes) -> str:
    """The Content-Security-Policy under which the document's own styles and scripts run, and no others."""
    found: dict[bytes, list[str]] = {b"style": [], b"script": []}
    for kind, content in _BLOCK.findall(html):
        found[kind.lower()].append(f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'")
    rules = {
        "default-src": ["'none'"],
        "style-src": found[b"style"] or ["'none'"],
        "script-src": found[b"script"] or ["'none'"],
        "connect-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "base-uri": ["'none'"],
        "form-action": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{rule} {' '.join(dict.fromkeys(allowed))}" for rule, allowed in rules.items())


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a client that says this takes gzip."""
    for one in accept_encoding.lower().split(","):
        name, _, parameters = one.partition(";")
        if name.strip() in ("gzip", "*"):
            quality = parameters.replace(" ", "").removeprefix("q=") or "1"
            return quality.replace(".", "", 1).isdigit() and float(quality) > 0
    return False
