"""A stand-in for NVIDIA's libnvidia-ml.so.1: compiled here, loaded by the real pynvml, scripted through a file."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import ModuleType

import pytest

SOURCE = Path(__file__).parent / "nvml" / "nvml.c"
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Gpu:
    """A device's line in the state file; nvml.c says what each word means."""

    uuid: str
    bus: str = "0000:01:00.0"
    error: int = 0
    limit_mw: int = 300_000
    counts: int = 1
    tells_mw: int = 1
    since_ns: int = 0
    every_ns: int = 0
    mj: int = 0
    mw: int = 0
    module_mj: int = 0
    module_mw: int = 0
    module_limit_mw: int = 0
    gpu_field_mj: int = 0
    mig: int = 0


@dataclass
class StandIn:
    """The state of one compiled library. Change a field, then `write`."""

    library: Path
    gpus: list[Gpu] = field(default_factory=list)
    version: str = "550.54.15"
    load: int = 1
    init: int = 0
    now_ns: int = 0

    def write(self) -> None:
        """Let every process that has the library loaded see the state as it is now."""
        lines = [f"driver version={self.version} load={self.load} init={self.init} now_ns={self.now_ns}"]
        lines += [" ".join(["gpu", *(f"{f.name}={getattr(gpu, f.name)}" for f in fields(gpu))]) for gpu in self.gpus]
        draft = self.library.with_name(f"nvml.state.{os.getpid()}")
        draft.write_text("\n".join(lines) + "\n")
        draft.replace(self.library.with_name("nvml.state"))

    def change(self, index: int, **words: int) -> None:
        """Change one device, and write."""
        self.gpus[index] = replace(self.gpus[index], **words)
        self.write()

    def pass_time(self, seconds: float) -> None:
        """Put the clock on, so that devices with a `since_ns` count; and write."""
        self.now_ns += round(seconds * SECOND_NS)
        self.write()

    def reload_driver(self) -> None:
        """Unload and load the driver: sessions end, counters start again."""
        self.load += 1
        self.gpus = [replace(gpu, mj=0, module_mj=0, since_ns=self.now_ns) for gpu in self.gpus]
        self.write()


def compiler() -> str | None:
    """The C compiler of this machine."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path, *flags: str) -> Path:
    """Compile the library into a folder, under the name by which pynvml looks for it."""
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    cc = compiler()
    assert cc, "no C compiler"
    warnings = ["-Wall", "-Wextra", "-Werror"]
    subprocess.run([cc, "-O1", "-shared", "-fPIC", *warnings, *flags, "-o", library, SOURCE, "-ldl"], check=True)
    return library


def bindings(library: Path) -> ModuleType:
    """NVIDIA's own pynvml, as a module of its own that loads this library and leaves the process's alone."""
    spec = importlib.util.find_spec("pynvml")
    assert spec is not None
    private = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "pynvml", private)  # which looks itself up while it is loaded
        spec.loader.exec_module(private)
    private.CDLL = lambda _: ctypes.CDLL(str(library))
    return private
