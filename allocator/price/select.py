"""The price strategies by name, and the default."""

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
