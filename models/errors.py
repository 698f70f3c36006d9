"""Every error of the project, named by what the caller will do about it.

GreenFlowError
├── FixFile      a file is wrong: correct the file and field that it names
├── FixRequest   a request is wrong: correct the field that it names (HTTP 422)
│   └── NoSuch   what it names is not there: look at what is (HTTP 404)
├── FixSetup     the machine lacks something: a port, a GPU, an extra, a running cluster
│   ├── NeedsExtra    packages of an extra
│   └── SensorAbsent  this kind of power sensor cannot be read here: try the next
├── SensorLost   a power sensor that was read is gone: bill nothing, and read it again later
└── TryAgain     nothing is wrong with the call: repeat it (a replica died under it)
    ├── Late     the callee may still be at it: repeat it later, not at once
    ├── Lost     nobody is there to call: do without that variant, or repeat it when it is back
    ├── Overloaded   too many others wait: repeat it later, not at once (HTTP 503)
    └── OutOfTime    the time that the caller gave is over: repeat it with more (HTTP 504)
"""

from pathlib import Path


class GreenFlowError(Exception):
    """Base of all errors that GreenFlow raises on purpose."""


class FixFile(GreenFlowError):
    """A file is wrong.

    `file` is its path, `field` where in it ("" for the whole file), `problem` what is wrong and what would be right.
    """

    def __init__(self, file: Path | str, field: str, problem: str) -> None:
        self.file, self.field, self.problem = str(file), field, problem
        super().__init__(self.file, field, problem)  # what the error is rebuilt from in another process

    def __str__(self) -> str:
        return ": ".join(part for part in (self.file, self.field, self.problem) if part)


class FixRequest(GreenFlowError):
    """A request is wrong. `field` is a dotted path into its body, `problem` says what would be right."""

    def __init__(self, field: str, problem: str) -> None:
        self.field, self.problem = field, problem
        super().__init__(field, problem)  # what the error is rebuilt from in another process

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class NoSuch(FixRequest):
    """A request is about something that is not there; `field` says where it names it."""


class FixSetup(GreenFlowError):
    """The machine or its surroundings lack something; the message says what, and the remedy."""


class NeedsExtra(FixSetup):
    """`what` takes packages of one of the project's extras, which are not installed."""

    def __init__(self, what: str, extra: str) -> None:
        self.what, self.extra = what, extra
        super().__init__(what, extra)  # what the error is rebuilt from in another process

    def __str__(self) -> str:
        return f"{self.what}: in the checkout, make .venv EXTRAS=dev,{self.extra} (or pip install -e '.[{self.extra}]')"


class SensorAbsent(FixSetup):
    """A power sensor is not there, or not for us: `problem` says which. `remedy` says what to do, "" for nothing."""

    def __init__(self, sensor: str, problem: str, remedy: str = "") -> None:
        self.sensor, self.problem, self.remedy = sensor, problem, remedy
        super().__init__(sensor, problem, remedy)

    def __str__(self) -> str:
        return f"{self.sensor}: " + "; ".join(part for part in (self.problem, self.remedy) if part)


class SensorLost(GreenFlowError):
    """A power sensor stopped to answer. Nothing is billed for it until it answers again."""


class TryAgain(GreenFlowError):
    """The callee went away before it answered. Stage calls are idempotent, so the call may be repeated."""


class Late(TryAgain):
    """The callee did not answer in time. Repeating the call at once would only add to what it has to do."""


class Overloaded(TryAgain):
    """As many calls wait as may. Nothing was done for this one."""


class OutOfTime(TryAgain):
    """The caller's own deadline has passed. What was under way for the call is not waited for."""


class Lost(TryAgain):
    """No replica of a variant is there. Chains that do not use it can still run."""

    def __init__(self, stage: str, variant: str) -> None:
        self.stage, self.variant = stage, variant
        super().__init__(stage, variant)  # what the error is rebuilt from in another process

    def __str__(self) -> str:
        return f"no replica of {self.stage}/{self.variant} is there; it may be back in a moment"
