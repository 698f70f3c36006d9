"""The salt that users' ids are hashed with: made up once, and kept, so that the same users stay held back."""

import os
import secrets
from pathlib import Path

from models.errors import FixSetup

FILE = "salt"
BYTES = 12


def kept_salt(folder: Path) -> str:
    """The salt that is kept in a folder; made up at the first time, for the user's own eyes.

    Raises FixSetup where it cannot be read or written.
    """
    file = folder / FILE
    remedy = "let the user write there, or set experiment.salt (GREENFLOW_EXPERIMENT_SALT)"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _make(file)
        salt = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FixSetup(f"{file}: the salt of users' ids cannot be kept: {error}; {remedy}") from None
    if len(salt) != 2 * BYTES:
        raise FixSetup(f"{file}: expected a salt of {2 * BYTES} letters; delete the file for a new one")
    return salt


def _make(file: Path) -> None:
    """Whole or not at all, and never over one that is there: two that start at once go by the same."""
    if file.exists():
        return
    draft = file.with_name(f".{FILE}-{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(secrets.token_hex(BYTES))
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    finally:
        draft.unlink()
