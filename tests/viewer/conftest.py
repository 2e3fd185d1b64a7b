"""A study of two small scans, written as `miliary ct` and `compare` write them, and a server for it."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from miliary.exchange.folders.ct_store import write_ct_result
from miliary.model.ct_result import CtResult
from miliary.model.nodules import TRACK_COLUMNS, Nodules
from miliary.model.scan import Scan
from miliary.model.transform import Transform
from miliary.viewer.server import ViewerServer

SHIFT_MM = 4.0


@pytest.fixture
def study(
    tmp_path: Path,
    make_result: Callable[..., CtResult],
    make_nodules: Callable[..., Nodules],
    small_scan: Scan,
) -> Path:
    """A study folder: the follow-up lies 4 mm higher, and both scans differ in every voxel."""
    rng = np.random.default_rng(3)
    nodules = make_nodules(
        5, x_mm=[-13.0, 12, -14, 13, 0], y_mm=[-6.0, -6, -5, -4, 0], z_mm=[120.0, 118, 110, 130, 140]
    )
    for label in ("baseline", "followup"):
        noise = rng.integers(-40, 40, small_scan.voxels_hu.shape, dtype=np.int16)
        scan = replace(small_scan, voxels_hu=small_scan.voxels_hu + noise)
        write_ct_result(make_result(nodules=nodules), tmp_path / "study" / "ct" / label, scan=scan)
    compared = tmp_path / "study" / "compare" / "baseline__followup"
    compared.mkdir(parents=True)
    np.savez(compared / "transform.npz", **Transform.affine(np.eye(3), [0, 0, SHIFT_MM]).to_arrays())
    return tmp_path / "study"


def write_fates(compared: Path) -> None:
    """What became of the five nodules of the baseline, and a new one with number 5 of the follow-up."""
    fates = ("kept", "shrunk", "grown", "no_longer_seen", "no_longer_seen", "new")
    lines = [",".join(column.name for column in TRACK_COLUMNS)]
    for number, fate in enumerate(fates, start=1):
        first, second = (0, 5) if fate == "new" else (number, 0 if fate == "no_longer_seen" else number)
        lines.append(f"{number},{fate},{first},{second},0.9,0,0,120,right,upper,4.0,4.0,0.0,0.1")
    (compared / "tracks.csv").write_text("\n".join(lines) + "\n")


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Client:
    """Asks one server, in any wrong way a test wants."""

    server: ViewerServer
    host: str = field(default="")

    def ask(
        self, path: str, *, method: str = "GET", body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The answer to a request for a path below the token."""
        return self.ask_raw(f"/{self.server.token}/{path}", method=method, body=body, headers=headers)

    def ask_raw(
        self, path: str, *, method: str = "GET", body: object = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The answer to a request for a path as it stands."""
        place = urlsplit(self.server.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=20)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} if data is not None else {}
        connection.putrequest(method, path, skip_host=True)
        merged = {"Host": place.netloc, **given, **(headers or {})}
        if data is not None and "Content-Length" not in merged:
            merged["Content-Length"] = str(len(data))
        for name, value in merged.items():
            connection.putheader(name, value)
        connection.endheaders(data)
        answer = connection.getresponse()
        got = Answer(answer.status, dict(answer.getheaders()), answer.read())
        connection.close()
        return got


@pytest.fixture
def serve() -> Iterator[Callable[..., Client]]:
    """Start a server for a folder; all are stopped in the end."""
    servers: list[ViewerServer] = []

    def start(folder: Path, *, only_case: bool = False) -> Client:
        server = ViewerServer(folder, reader="AB", only_case=only_case)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return Client(server)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def client(study: Path, serve: Callable[..., Client]) -> Client:
    """Asks a server of the study."""
    return serve(study)
