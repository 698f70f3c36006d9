"""Feedback on what is answered, beside a test: a client that tells of each request what it has earned."""

import threading
from collections.abc import Callable

import httpx
from asking import Asked, Asking

EVERY_S, MOST = 0.3, 500


class Rewarding:
    """Tells for as long as it is entered, in batches, what requests earned by `earns`; at the end of all the rest.

    told  rewards by request id, of those that were taken
    """

    def __init__(self, url: str, asking: Asking, earns: Callable[[Asked], float]) -> None:
        self._url, self._asking, self._earns = url, asking, earns
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.told: dict[str, float] = {}
        self.refused: list[int] = []

    def __enter__(self) -> "Rewarding":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as client:
            while not self._stop.wait(EVERY_S):
                self._tell(client)
            self._tell(client)

    def _tell(self, client: httpx.Client) -> None:
        new = {
            one.request_id: self._earns(one)
            for one in list(self._asking.asked)
            if one.status == 200 and one.request_id not in self.told
        }
        while new:
            part = dict(list(new.items())[:MOST])
            body = {"feedback": [{"request_id": one, "reward": reward} for one, reward in part.items()]}
            answer = client.post("/v1/feedback", json=body)
            if answer.status_code != 202:
                self.refused.append(answer.status_code)
                return
            self.told |= part
            new = {one: reward for one, reward in new.items() if one not in part}
