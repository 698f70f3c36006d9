"""`greenflow promote`: let another reward model predict on a running server, and go back."""

from datetime import UTC, datetime
from pathlib import Path

import click

from cluster.commands.admin import token_file_option, token_from, url_option
from cluster.promotion.client import PromotionClient, read_model
from cluster.promotion.schemas import RewardModelOut, RewardModelsResponse


@click.command("promote", context_settings={"show_default": True})
@click.argument("candidate", required=False, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--back", is_flag=True, help="Go back to the model before; once more, and the present one predicts again."
)
@click.option("--show", is_flag=True, help="Show which model predicts, since when and by whom. Takes no token.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@url_option
@token_file_option
def command(candidate: Path | None, back: bool, show: bool, as_json: bool, url: str, token_file: Path | None) -> None:
    """Let the reward model CANDIDATE predict on a running server, without a failed request.

    CANDIDATE is a folder that `greenflow train-reward --log` has written, or an .onnx file. Of a folder, cascade and
    chains are compared with the server's; of a file only the number of chains and the inputs can be. The server tries
    it first and refuses it whole where it is no reward model of its cascade. It then predicts within two windows
    (seconds) in all replicas, and after a restart too, until the server is started with a cascade whose own reward
    model is another one.

    \b
    Examples:
      export GREENFLOW_ADMIN_TOKEN=$(cat token)   one that the server was started with
      greenflow promote candidate/
      greenflow promote --show
      greenflow promote --back
      greenflow promote reward.onnx --url http://10.0.0.5:8000 --token-file token
    """
    if (candidate is not None) + back + show != 1:
        raise click.UsageError("name one of CANDIDATE, --back and --show")
    if show:
        _print(PromotionClient(url).show(), as_json)
        return
    client = PromotionClient(url, token_from(token_file))
    if candidate is None:
        _print(client.back(), as_json)
        return
    content, known = read_model(candidate)
    if known is not None:
        client.check(known, candidate)
    _print(client.put(content), as_json)


def _print(models: RewardModelsResponse, as_json: bool) -> None:
    if as_json:
        click.echo(models.model_dump_json(indent=1))
        return
    click.echo(f"predicts  {_said(models.current)}")
    click.echo(f"before    {'none' if models.previous is None else _said(models.previous)}")


def _said(model: RewardModelOut) -> str:
    own = ", the cascade's own" if model.own else ""
    if model.since_s is None:
        return f"{model.name}{own}, from the start"
    when = datetime.fromtimestamp(model.since_s, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{model.name}{own}, since {when} by {model.author}"
