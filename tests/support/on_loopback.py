"""An application on a port of loopback, for callers that need a socket."""

import socket
import threading
import time
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI


def served(app: FastAPI) -> Iterator[str]:
    """The application on a free port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join()
