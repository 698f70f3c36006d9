"""Options of commands that change a running server, and the token that they show it."""

from pathlib import Path

import click

from cluster.admin_client import first_token, token_in
from cluster.config import own_token
from cluster.traffic.load import DEFAULT_URL
from models.errors import FixSetup

url_option = click.option("--url", default=DEFAULT_URL, help="Where the server answers.")
token_file_option = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="GREENFLOW_ADMIN_TOKEN",
    help="File with a token of the server's.",
)


def token_from(file: Path | None) -> str:
    """The first token of the file, or of GREENFLOW_ADMIN_TOKEN; "" for none. Raises FixFile and FixSetup."""
    try:
        return token_in(file) if file is not None else first_token(own_token())
    except ValueError as error:
        raise FixSetup(f"variable GREENFLOW_ADMIN_TOKEN: {error}") from None
