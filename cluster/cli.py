"""The `greenflow` command. Subcommands are imported when they are called, so that `--help` answers at once."""

import importlib
import os
import sys

import click

from models.errors import GreenFlowError

COMMANDS = {
    "up": ("cluster.commands.up", "up"),
    "status": ("cluster.commands.up", "status"),
    "down": ("cluster.commands.up", "down"),
    "doctor": ("cluster.commands.doctor", "command"),
    "settings": ("cluster.commands.settings", "command"),
    "budget": ("cluster.commands.budget", "command"),
    "promote": ("cluster.commands.promote", "command"),
    "watch": ("cluster.commands.watch", "command"),
    "report": ("cluster.commands.report", "command"),
    "monitoring": ("cluster.commands.monitoring", "group"),
    "load": ("cluster.commands.load", "load"),
    "train": ("cluster.commands.train", "train"),
    "profile": ("cluster.commands.profile", "command"),
    "replay": ("cluster.commands.replay", "command"),
    "replay-past": ("cluster.commands.replay_past", "command"),
    "train-reward": ("cluster.commands.train_reward", "command"),
    "evaluate": ("cluster.commands.evaluate", "command"),
    "simulate": ("cluster.commands.simulate", "command"),
    "index": ("cluster.commands.index", "command"),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is asked for, in the order of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the subcommands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, None where there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="greenflow")
def greenflow() -> None:
    """A cascade recommender on Ray Serve that chooses per request how much computation it is worth.

    \b
    Start here:
      greenflow up                     serve the demo cascade, until Ctrl-C
      greenflow load --seconds 10      send it traffic, in another terminal
      greenflow watch                  see watts, limits and savings live; the page at the server's address does, too
      greenflow report                 see what joules that took, and where they went
      greenflow doctor                 see which meters are read here, and why others are not
    """


def main() -> None:
    """Entry point: errors that are ours become one line on stderr and exit status 2."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in the replicas, so that `profile` measures what they do
    status = _status()
    if "ray" in sys.modules:
        # Threads of Ray's client outlive `ray.shutdown`, and now and then one runs into what an interpreter that ends
        # has torn down already: a segmentation fault after all was done.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _status() -> int:
    """Runs the command; what it is to end with."""
    try:
        greenflow(prog_name="greenflow")
    except GreenFlowError as error:
        click.echo(f"error: {error}", err=True)
        return 2
    except SystemExit as end:
        if not isinstance(end.code, int):
            raise
        return end.code
    return 0
