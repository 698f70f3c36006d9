"""Who may change limits: bearer tokens, each with the name of its holder."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

ONLY = "admin"
"""Whose a token without a name is."""
BY_SETTINGS = "settings"
"""What the history calls a change that came with new settings, so no holder of a token."""
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.@-]{0,39}")
TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{16,256}")
SHAPE = "16 to 256 of A-Z, a-z, 0-9 and ._~+/=- (`openssl rand -hex 32` makes one)"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens and their holders' names. Never printed: only digests of them are kept."""

    digests: Mapping[str, bytes] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.digests)

    def holder(self, token: str) -> str | None:
        """The name of the token's holder, None for a wrong one. Takes as long whichever it is, and whatever it is."""
        given, found = _digest(token), None
        for name, digest in self.digests.items():
            same = hmac.compare_digest(given, digest)
            found = name if same else found
        return found


def tokens_of(text: str) -> Tokens:
    """Tokens from `token`, or from `name:token,name2:token2`; none from "". Raises ValueError that tells no token."""
    digests: dict[str, bytes] = {}
    for name, token in pairs(text):
        if name in digests or _digest(token) in digests.values():
            raise ValueError("names and tokens must differ from each other")
        digests[name] = _digest(token)
    return Tokens(digests)


def pairs(text: str) -> list[tuple[str, str]]:
    """Names and tokens, as `tokens_of` reads them."""
    found = []
    parts = text.strip().split(",") if text.strip() else []
    for number, part in enumerate(parts, start=1):
        name, named, token = part.strip().partition(":")
        name, token = (name, token) if named else (ONLY, name)
        which = "the token" if len(parts) == 1 else f"token {number}"
        if not TOKEN.fullmatch(token):
            raise ValueError(f"{which} must have {SHAPE}; several are name:token,name2:token2")
        if not NAME.fullmatch(name) or name == BY_SETTINGS:
            raise ValueError(f"the name of {which} must be a letter, then up to 39 of a-z, A-Z, 0-9 and _.@-")
        found.append((name, token))
    return found


def _digest(token: str) -> bytes:
    """Digests are equally long, so comparing them does not tell how long a token is."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
