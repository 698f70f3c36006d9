"""The API of limits, called from the command line."""

import json
import urllib.parse

from allocator.limits import Limit
from cluster.admin_client import TIMEOUT_S, AdminClient
from cluster.limits.schemas import ChangesResponse, LimitOut, LimitsResponse
from cluster.limits.stated import document

PATH = "/v1/constraints"


class LimitClient:
    """Asks one server. Arguments and errors as those of `AdminClient`."""

    def __init__(self, url: str, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._api = AdminClient(url, token, timeout_s)

    def constraints(self) -> LimitsResponse:
        """All limits in force."""
        return self._api.read(LimitsResponse, self._api.call("GET", PATH))

    def changes(self, last: int) -> ChangesResponse:
        """The newest changes."""
        return self._api.read(ChangesResponse, self._api.call("GET", f"{PATH}/changes?last={last}"))

    def put(self, limit: Limit) -> LimitOut:
        """Set a limit; how it stands then."""
        body = json.dumps(document(limit)).encode()
        return self._api.read(LimitOut, self._api.call("PUT", f"{PATH}/{limit.name}", body))

    def clear(self, name: str) -> None:
        """Remove a limit."""
        self._api.call("DELETE", f"{PATH}/{urllib.parse.quote(name, safe='')}")
