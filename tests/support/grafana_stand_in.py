"""A stand-in for Grafana's program, which tests cannot have: it listens where it is told to, and is healthy."""

import json
import sys
from pathlib import Path

PROGRAM = """\
#!{python}
import configparser, http.server, json, pathlib, sys
options = dict(one.removeprefix("--").split("=", 1) for one in sys.argv[1:] if "=" in one)
config = configparser.ConfigParser()
assert config.read(options["config"])
pathlib.Path({heard!r}).write_text(json.dumps([sys.argv[1:], {{one: dict(config[one]) for one in config.sections()}}]))

class Healthy(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/api/health" else 404)
        self.send_header("content-type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps({{"database": "ok"}}).encode())

http.server.HTTPServer((config["server"]["http_addr"], int(config["server"]["http_port"])), Healthy).serve_forever()
"""


def install(folder: Path) -> Path:
    """Put it into a folder of programs; returns the file in which it notes its arguments and its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    heard, program = folder / "heard.json", folder / "grafana-server"
    program.write_text(PROGRAM.format(python=sys.executable, heard=str(heard)))
    program.chmod(0o755)
    return heard


def heard(file: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Its arguments, and its configuration by section."""
    arguments, config = json.loads(file.read_text())
    return arguments, config
