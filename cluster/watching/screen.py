"""What stands on the screen: the newest window, since when nothing came, and why."""

from collections.abc import Callable

from rich.console import Group, RenderableType
from rich.text import Text

from cluster.live.schemas import GoneEvent, HistoryEvent, WindowEvent
from cluster.watching import said
from cluster.watching.course import Course
from cluster.watching.follow import Look, Lost
from cluster.watching.view import picture

LATE_S = 5.0
"""Longer than a few windows without a new one is said."""
STEPS = 30


class Screen:
    """Heard by one thread, drawn by another.

    wall  Unix time, as the server has it
    """

    def __init__(self, url: str, wall: Callable[[], float]) -> None:
        self._url, self._wall = url, wall
        self._window: WindowEvent | None = None
        self._trouble, self._heard_s = "", wall()
        self._watts = Course(STEPS)

    def hear(self, look: Look) -> None:
        """Take in what came."""
        if isinstance(look, Lost):
            self._trouble = f"no connection: {look.why}; it is tried again"
        elif isinstance(look, GoneEvent):
            self._trouble = f"nobody can tell now: {look.detail}"
        elif isinstance(look, HistoryEvent):
            self._trouble = ""
            for point in look.points:
                self._watts.add(point.time_s, point.power_w)
        else:
            self._trouble, self._window, self._heard_s = "", look, self._wall()
            self._watts.add(look.time_s, None if look.power is None else look.power.power_w)

    def __rich__(self) -> RenderableType:
        """As it is now."""
        window = self._window
        shown = (
            Text("waiting for the first window", style="dim") if window is None else picture(window, str(self._watts))
        )
        return Group(self._head(), Text(), shown)

    def _head(self) -> Text:
        silent_s = self._wall() - self._heard_s
        text = Text.assemble(("GreenFlow", "bold green"), f"  {self._url}  ")
        if self._trouble:
            text.append(self._trouble, style="bold red")
        elif self._window is not None:
            text.append(said.at(self._window.time_s))
        if self._window is not None and silent_s > LATE_S:
            text.append(f"  figures are {silent_s:.0f} s old", style="yellow")
        return text
