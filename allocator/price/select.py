"""The price strategies by name, and the default.

The default is the one that leaves least of the limit unused or overspent over all traces of tests/bench/price.py, which
prints the table. On a steady load all three reach the floor that the sampling of requests sets. After steps of load or
limit, in bursts and with late measurements the predictive one stays next to the floor of what can be known beforehand,
where the other two pay for every window that their error takes to decay. It costs about 1 ms a window instead of 0.2.
"""

from typing import Any

from allocator.price.base import PriceStrategy
from allocator.price.dual import DualDescent
from allocator.price.pid import Pid
from allocator.price.predictive import Predictive
from models.errors import FixSetup

STRATEGIES: dict[str, type[PriceStrategy[Any]]] = {"predictive": Predictive, "dual": DualDescent, "pid": Pid}
DEFAULT = "predictive"


def strategy(name: str = DEFAULT) -> PriceStrategy[Any]:
    """The strategy of that name with its default gains. Raises FixSetup naming the choices when there is none."""
    if name not in STRATEGIES:
        raise FixSetup(f"there is no price strategy {name!r}; choose one of {', '.join(STRATEGIES)}")
    return STRATEGIES[name]()
