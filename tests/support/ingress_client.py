"""A caller of the HTTP API inside this process, over the tiny cascade."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from tiny_serving import open_recommender

from cluster.config import BatchSettings
from cluster.ingress import make_app
from cluster.schemas import RecommendResponse

MAX_BODY = 4096
Body = dict[str, Any]


class Client:
    """A caller of one application; each call runs in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return self.together([("GET", path, {})])[0]

    def post(self, body: object = None, **request: Any) -> httpx.Response:
        return self.together([("POST", "/v1/recommend", request or {"json": body})])[0]

    def ok(self, body: Body) -> Body:
        response = self.post(body)
        assert response.status_code == 200, response.text
        RecommendResponse.model_validate(response.json(), strict=True)
        answer: Body = response.json()
        return answer

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send the requests at the same time."""

        async def main() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self._app)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://greenflow") as client,
                asyncio.timeout(20),
            ):
                return await asyncio.gather(*(client.request(method, path, **rest) for method, path, rest in requests))

        return asyncio.run(main())


def serve(folder: Path) -> Iterator[Client]:
    with open_recommender(folder, BatchSettings(max_rows=4, wait_ms=1, in_flight=2)) as recommender:
        yield Client(make_app(recommender, MAX_BODY))


def ids_of(answer: Body) -> list[int | str]:
    return [item["item_id"] for item in answer["items"]]
