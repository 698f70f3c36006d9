"""The API of reward models, called from the command line."""

from collections.abc import Sequence
from pathlib import Path

from allocator.reward import REWARD_FILE
from cluster.admin_client import AdminClient
from cluster.candidate import CANDIDATE_FILE, Candidate, read_candidate
from cluster.promotion.routes import CONTENT, MOST_BYTES, PATH
from cluster.promotion.schemas import RewardModelsResponse
from cluster.schemas import ChainsResponse
from models.errors import FixFile

TIMEOUT_S = 60.0
"""A model is sent whole, tried and kept before it is answered for."""
MOST_CHAINS_BYTES = 256 << 20


class PromotionClient:
    """Asks one server. Arguments and errors as those of `AdminClient`."""

    def __init__(self, url: str, token: str = "", timeout_s: float = TIMEOUT_S) -> None:
        self._api = AdminClient(url, token, timeout_s, MOST_CHAINS_BYTES)

    def show(self) -> RewardModelsResponse:
        """Which reward model predicts, and which did before."""
        return self._read(self._api.call("GET", PATH))

    def put(self, content: bytes) -> RewardModelsResponse:
        """Let this model predict."""
        return self._read(self._api.call("PUT", PATH, content, CONTENT))

    def back(self) -> RewardModelsResponse:
        """Let the one before predict."""
        return self._read(self._api.call("DELETE", PATH))

    def check(self, candidate: Candidate, folder: Path) -> None:
        """Refuse a candidate for another cascade than the one that is served: of as many chains, it would predict
        rewards of the wrong ones, and nothing would tell. Raises FixFile."""
        served = self._api.read(ChainsResponse, self._api.call("GET", "/v1/chains"))
        path = folder / CANDIDATE_FILE
        if candidate.cascade != served.cascade:
            raise FixFile(path, "cascade", f"is {candidate.cascade!r}, and the server serves {served.cascade!r}")
        _check_chains(path, candidate.chains, [chain.id for chain in served.chains])

    def _read(self, body: bytes) -> RewardModelsResponse:
        return self._api.read(RewardModelsResponse, body)


def read_model(path: Path) -> tuple[bytes, Candidate | None]:
    """A model's content, from its file or from a candidate's folder; and what is known of it there. Raises FixFile."""
    candidate = read_candidate(path) if path.is_dir() else None
    file = path if candidate is None else path / REWARD_FILE
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            raise FixFile(file, "", f"is {size} bytes long, and a reward model may be {MOST_BYTES}")
        return file.read_bytes(), candidate
    except OSError as error:
        raise FixFile(file, "", f"cannot be read ({error.strerror})") from None


def _check_chains(path: Path, chains: Sequence[str], served: Sequence[str]) -> None:
    if len(chains) != len(served):
        raise FixFile(path, "chains", f"are {len(chains)}, and the server has {len(served)}; train a candidate for it")
    for at, (one, other) in enumerate(zip(chains, served, strict=True)):
        if one != other:
            raise FixFile(path, f"chains.{at}", f"is {one}, and the server's is {other}; train a candidate for it")
