"""Server-sent events from the lines of a stream, as the HTML standard has them. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `id` is the last one that the stream has named, "" for none."""

    name: str
    data: str
    id: str


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """The events, as soon as the empty line that ends each has come. Comments, and fields nobody needs, are left out;
    an event that was cut short is none."""
    name, data, last_id = "message", list[str](), ""
    for line in lines:
        text = line.decode("utf-8", "replace").rstrip("\r\n")
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data:
                yield Event(name, "\n".join(data), last_id)
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            last_id = value
