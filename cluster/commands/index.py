"""`greenflow index`: an approximate index for the recall variants of a large catalogue."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from models.checking import check_cascade
from models.indexing import Indexed, add_approximate, with_indexes
from models.spec import read_spec, write_spec


@click.command("index")
@click.option("--cascade", "folder", type=click.Path(path_type=Path), required=True, help="The cascade's folder.")
@click.option("--connectivity", type=click.IntRange(2, 128), default=16, show_default=True, help="Edges per item.")
@click.option(
    "--expansion", type=click.IntRange(1, 10_000), default=512, show_default=True, help="Candidates a search keeps."
)
@click.option(
    "--users", type=click.IntRange(1), default=1000, show_default=True, help="Users whose recall is measured."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Draws those users.")
@click.option("--remove", is_flag=True, help="Go back to the exact matrix product.")
def command(folder: Path, connectivity: int, expansion: int, users: int, seed: int, remove: bool) -> None:
    """Build approximate indexes (HNSW by usearch, extra `ann`), measure what they miss, and put them to use.

    Exact recall costs 2 x d FLOPs per item of the catalogue; it is the right choice up to some 100,000 items.

    \b
    Example:
      greenflow index --cascade out/big --expansion 800
      greenflow index --cascade out/big --remove
    """
    cascade = check_cascade(folder)
    console = Console(stderr=True)
    if remove:
        spec = read_spec(folder)
        plain = tuple(v.model_copy(update={"approximate": None}) for v in spec.stages[0].variants)
        stages = (spec.stages[0].model_copy(update={"variants": plain}), *spec.stages[1:])
        write_spec(spec.model_copy(update={"stages": stages}), folder)
        console.print(f"{folder}: recall searches the whole index again")
        return
    indexed: list[Indexed] = []
    with console.status("building the graphs"):
        indexed.extend(add_approximate(cascade, connectivity, expansion, users, seed))
    write_spec(with_indexes(read_spec(folder), indexed), folder)
    _print(indexed)


def _print(indexed: list[Indexed]) -> None:
    table = Table(title="share of the exact top n that the approximate search finds")
    table.add_column("variant")
    for n in indexed[0].recall:
        table.add_column(f"n={n}", justify="right")
    for one in indexed:
        table.add_row(one.variant, *(f"{share:.4f}" for share in one.recall.values()))
    Console().print(table)
