"""What is tried on a share of the requests, so that savings and rewards are measured rather than believed."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from allocator.arms import MOST_SALT, Assignment

EXPLORED = 0.01
"""Share of requests that explore where the setting is left out and decisions are logged."""


class ExperimentSettings(BaseModel):
    """The standing experiment.

    enabled   whether there is one, where a policy chooses chains. Without it nobody is held back, nothing is remembered
              of answers, and feedback is refused
    holdback  share of users whose requests run the static chain, as production would have; what the others save is
              measured against them. Zero holds nobody back, and then no saving is known
    explore   share of the requests that get any of the available chains, each as likely, so that what other chains
              earn can be learned from the log. When left out, 0.01 where decisions are logged (`log.folder`), else
              none
    salt      decides with a user's id who is held back, and hides who is who in the log: the same one holds back the
              same users. When left out, one is made up and kept in the user's state folder on the machine where the
              application is built
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    enabled: bool = True
    holdback: Annotated[float, Field(ge=0, le=0.5)] = 0.02
    explore: Annotated[float | None, Field(ge=0, le=0.5)] = None
    salt: SecretStr | None = None

    @field_validator("salt")
    @classmethod
    def _fits(cls, salt: SecretStr | None) -> SecretStr | None:
        if salt is not None and not 0 < len(salt.get_secret_value().encode()) <= MOST_SALT:
            raise ValueError(f"a salt has 1 to {MOST_SALT} bytes")
        return salt

    def explores(self, logs: bool) -> float:
        """The share that explores.

        logs  whether decisions are logged
        """
        usual = EXPLORED if logs and self.enabled else 0.0
        return usual if self.explore is None else self.explore

    @property
    def assignment(self) -> Assignment:
        """Who is held back."""
        return Assignment(self.holdback, "" if self.salt is None else self.salt.get_secret_value())

    def salted(self, salt: str) -> "ExperimentSettings":
        """With that salt, unless there is one."""
        changed: dict[str, Any] = {} if self.salt is not None else {"salt": SecretStr(salt)}
        return self.model_copy(update=changed)


class FeedbackSettings(BaseModel):
    """How rewards that clients tell of are joined to the requests that earned them.

    horizon_s    so long after a request its reward is final: what was told until then, else zero
    most_pending requests that wait for feedback, as many as come within `horizon_s`: these defaults do for 111 a
                 second. Of more, the oldest wait no longer, and do not count as rewarded or not. About 400 bytes each,
                 with what is remembered of as many before
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    horizon_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = 1800.0
    most_pending: Annotated[int, Field(ge=1000, le=50_000_000)] = 200_000
