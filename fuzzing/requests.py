"""Send hostile requests to a viewer and tell what it answered that it should not have.

    python -m fuzzing.requests --count 2000

A request is made from its number alone. Findings: an answer of 200 to a request without the token, to another
host or for another origin; an answer of 5xx; one without the security headers; a server that does not answer
the next good request.
"""

from __future__ import annotations

import argparse
import random
import socket
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fuzzing.mutate import TEXTS, mutate_bytes
from fuzzing.seeds import DOORS
from miliary.viewer.server import ViewerServer

_METHODS = (
    *("GET",) * 12,
    *("POST",) * 8,
    *("HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PATCH", "get"),
)
_ROUTES = (
    *(
        "",
        "study",
        "nodules?scan=baseline",
        "corrections",
        "app.js",
        "style.css",
        "favicon.ico",
        "corrections?x",
    ),
    *("slice?scan=baseline&plane=axial&index=3", "volume?scan=baseline&step=2", "box?scan=followup"),
    *(
        "map?from=baseline&to=followup&x=1&y=2&z=120",
        "../study.json",
        "..%2f..%2fetc%2fpasswd",
        "%00",
        "static/app.js",
    ),
)
_BODY = '{"reader":"AB","scan":"baseline","kind":"add_nodule","position_lps_mm":[1.0,2.0,120.0]}'
# What a reading of the whole answer has to hold, whatever it says.
_SECURITY = (
    b"Content-Security-Policy:",
    b"X-Content-Type-Options:",
    b"Referrer-Policy:",
    b"Cache-Control: no-store",
)


@dataclass(frozen=True)
class Request:
    """Bytes to send, and whether they may be answered with something of the study."""

    data: bytes
    is_allowed: bool


def make_request(number: int, token: str, port: int) -> Request:
    """The request of a number."""
    rng = random.Random(f"request:{number}")  # noqa: S311
    has_token = rng.random() < 0.6
    wrong = rng.choice(("", "x", token[:-1], token.swapcase(), token + "A", "%2e%2e", rng.choice(TEXTS)[:80]))
    hosts = ("evil.example", "", "127.0.0.1", f"127.0.0.1:{port + 1}", "127.0.0.1:x", f"evil:{port}", "\x00")
    has_host = rng.random() < 0.8
    host = f"127.0.0.1:{port}" if has_host else rng.choice(hosts)
    origin = rng.choice(("", "", "", f"http://{host}", "http://evil.example", "null", "file://"))
    route = rng.choice(_ROUTES)
    if rng.random() < 0.4:
        name, sign, query = route.partition("?")
        parts = query.split("&")
        parts[rng.randrange(len(parts))] += rng.choice(TEXTS)[:200]
        route = name + (sign or "?") + "&".join(parts)
    target = f"/{token if has_token else wrong}/{route}"
    if rng.random() < 0.1:
        target = rng.choice(
            ("http://[bad/", "*", "//", f"http://evil/{token}/study", "/" * 3000, "x" * 70_000)
        )
    method = rng.choice(_METHODS)
    body = (
        _BODY
        if rng.random() < 0.5
        else rng.choice(("[", "{" * 3000, '{"scan":NaN}', '{"scan":"\\ud800"}', "[]", ""))
    )
    length = rng.choice((str(len(body)),) * 5 + ("-1", "x", "999999999", "0", str(len(body) // 2)))
    kind = rng.choice(("application/json", "application/json", "text/plain", "multipart/form-data"))
    lines = [f"{method} {target} {rng.choice(('HTTP/1.1',) * 30 + ('HTTP/1.0', 'HTTP/9.9', 'FTP/1.1', ''))}"]
    lines += [f"Host: {host}", f"Content-Type: {kind}", "Connection: close"]
    lines += [f"Origin: {origin}"] if origin else []
    lines += [f"Content-Length: {length}"] if method == "POST" or rng.random() < 0.1 else []
    lines += [f"{rng.choice(('X-A', 'Cookie', 'Range', 'Transfer-Encoding'))}: {rng.choice(TEXTS)[:500]}"]
    head = "\r\n".join(line.replace("\r\n", "") for line in lines) + "\r\n\r\n"
    data = head.encode("utf-8", "replace") + (body.encode() if method == "POST" else b"")
    if rng.random() < 0.15:
        # Damage may make anything of it, an allowed request too.
        return Request(mutate_bytes(data, rng), is_allowed=True)
    own = origin in ("", f"http://{host}")
    return Request(data, has_token and has_host and own)


def send(request: bytes, port: int) -> bytes:
    """The whole answer; the rest of a request that was never finished is told to be over."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        answer = b""
        try:
            line.sendall(request)
            line.shutdown(socket.SHUT_WR)
            while data := line.recv(1 << 16):
                answer += data
        except (ConnectionError, OSError):
            pass  # closed on us: a refusal as well
        return answer


def judge(request: Request, answer: bytes) -> str:
    """What is wrong with an answer; empty where nothing is."""
    status = answer.split(b" ", 2)[1:2]
    if not answer.startswith(b"HTTP/1."):
        # HTTP/0.9 has no headers; only refusals may come so.
        return (
            ""
            if not answer or answer.startswith(b'{"error"') or request.is_allowed
            else "an answer without a head"
        )
    if status and status[0].startswith(b"5") and status[0] not in (b"501", b"505"):
        return f"status {status[0].decode('latin-1')}"
    if status == [b"200"] and not request.is_allowed:
        return "answered what it should refuse"
    head = answer.partition(b"\r\n\r\n")[0]
    return "" if all(name in head for name in _SECURITY) else "without security headers"


def run(count: int, *, first: int = 0) -> Counter[str]:
    """Send so many requests; findings are printed and counted with the statuses."""
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="requests-") as folder:
        next(door for door in DOORS if door.name == "saved").make(Path(folder))
        server = ViewerServer(folder)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        port, token = int(server.server_address[1]), server.token
        good = f"GET /{token}/study HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        for number in range(first, first + count):
            request = make_request(number, token, port)
            answer = send(request.data, port)
            problem = judge(request, answer)
            if not problem and number % 50 == 0 and not send(good, port).startswith(b"HTTP/1.1 200"):
                problem = "no answer to the next good request"
            status = answer[9:12].decode("latin-1") if answer.startswith(b"HTTP/1.") else "closed"
            counts[status] += 1
            if problem:
                counts["finding"] += 1
                print(f"{number}: {problem}\n    {request.data[:200]!r}\n    {answer[:200]!r}", flush=True)
        server.shutdown()
        server.server_close()
    return counts


def main() -> int:
    """The command line of this module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0)
    given = parser.parse_args()
    counts = run(given.count, first=given.first)
    print(dict(sorted(counts.items())))
    return 1 if counts["finding"] else 0


if __name__ == "__main__":
    sys.exit(main())
