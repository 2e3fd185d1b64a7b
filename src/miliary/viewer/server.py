"""The viewer's web server: this machine only, one secret address, nothing but what a study holds.

Every request must carry the token in its path and name this server in its `Host` header; the second
refuses pages of other sites that have their name point here. Files are served by name from a fixed list,
scans by their label, so no path of a request ever reaches the file system.
"""

from __future__ import annotations

import contextlib
import html
import ipaddress
import itertools
import json
import math
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np

from miliary import __version__
from miliary.errors import InputError
from miliary.exchange.folders.corrections_file import append_correction, read_corrections
from miliary.model.corrections import Correction, correction_to_dict, select_active, select_pending
from miliary.viewer.case_form import MAX_BYTES, check_form, find_case_folder, read_form, save_form
from miliary.viewer.render import PLANES, WINDOWS, encode_png, render_slab
from miliary.viewer.viewed_study import (
    MAX_WHOLE,
    LazyVolume,
    ShownScan,
    ShownStudy,
    empty_study,
    find_applied_through,
    list_lesions,
    read_shown_study,
    stamp_study,
)

BUNDLE_NAME = "webgl.js"
BUNDLE_LICENSES = "webgl.licenses.txt"
MAX_BODY_BYTES = 64 * 1024
MAX_SLAB_MM = 60.0
FIRST_SLAB_MM = 5.0

_STATIC = {
    "app.js": "text/javascript",
    "pane.js": "text/javascript",
    "list.js": "text/javascript",
    "form.js": "text/javascript",
    "style.css": "text/css",
    "form.css": "text/css",
    BUNDLE_NAME: "text/javascript",
    BUNDLE_LICENSES: "text/plain",
}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    # Pictures of a patient stay out of the browser's disk.
    "Cache-Control": "no-store",
}


class _Refused(Exception):  # noqa: N818  an answer, not a failure
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


class ViewerServer(ThreadingHTTPServer):
    """Serves one study.

    Parameters
    ----------
    folder : path
        A study, or the result folder of one scan.
    host : str
        Address to listen on; loopback unless there is a reason.
    port : int
        0 for any free one.
    reader : str
        Initials that the page starts with.
    only_case : bool
        Serve the form for the case alone; `folder` need not hold a result.
    """

    daemon_threads = True
    # A page asks for many slices at once; the default of 5 resets what comes beyond.
    request_queue_size = 1024

    def __init__(
        self,
        folder: str | Path,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        reader: str = "",
        only_case: bool = False,
    ) -> None:
        self._folder = folder
        self.only_case = only_case
        self._reading = threading.Lock()
        self._used: list[LazyVolume] = []
        self.editing = threading.Lock()
        self.case_folder = find_case_folder(Path(folder))
        self.study = empty_study(folder) if only_case else read_shown_study(folder)
        self.reader = reader
        self.token = secrets.token_urlsafe(24)
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self._names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host}

    @property
    def url(self) -> str:
        """The address to open, its secret included."""
        host = str(self.server_address[0])
        if ipaddress.ip_address(host).is_unspecified:
            host = "127.0.0.1"
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self.server_address[1]}/{self.token}/"

    def refresh(self) -> None:
        """Read the study again where a member was measured anew; what cannot be read stays as it was."""
        with self._reading:
            if not self.only_case and stamp_study(self._folder) != self.study.stamp:
                with contextlib.suppress(InputError):
                    self.study = read_shown_study(self._folder)
                    self.warm_up()

    def warm_up(self) -> None:
        """Have voxels in memory before the reader scrolls; the first slice does not wait for it."""
        threading.Thread(target=_load_volumes, args=(self.study,), daemon=True).start()

    def keep(self, volume: LazyVolume) -> None:
        """Note that a volume is used whole, and let go of the one that was not for the longest time."""
        with self._reading:
            self._used = [*(v for v in self._used if v is not volume), volume]
            while len(self._used) > MAX_WHOLE:
                self._used.pop(0).forget()

    def accepts_host(self, name: str) -> bool:
        """Whether a `Host` header means this server."""
        return name in {f"{known}:{self.server_address[1]}" for known in self._names}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay quiet about a browser that went away in the middle of an answer."""


def open_server(
    folder: str | Path, *, host: str, port: int, reader: str, only_case: bool = False
) -> ViewerServer:
    """A server that listens, its volumes being read in the background.

    Raises
    ------
    InputError
        There is no result to show, or the address cannot be listened on or is not a numeric one.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise InputError(f"--host {host}: is not a numeric address; use 127.0.0.1") from None
    try:
        server = ViewerServer(folder, host=host, port=port, reader=reader, only_case=only_case)
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise InputError(f"--host {host} --port {port}: cannot listen there ({reason})") from None
    server.warm_up()
    return server


def _load_volumes(study: ShownStudy) -> None:
    # Those that the page begins with; others come when they are chosen.
    for scan in study.scans[:2]:
        if scan.volume is not None:
            # What is damaged is told by the request that needs it.
            with contextlib.suppress(Exception):
                scan.volume.load()
                scan.volume.lung_box()


def has_bundle() -> bool:
    """Whether the WebGL part was built (`make viewer`) or came with the wheel."""
    return resources.files("miliary.viewer").joinpath(f"static/{BUNDLE_NAME}").is_file()


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    server_version = "miliary"
    sys_version = ""
    protocol_version = "HTTP/1.1"
    timeout = 30

    def do_GET(self) -> None:
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            # What a GET carries is not read, and must not be taken for the next request.
            self.close_connection = True
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class names it so
        """Log nothing: an address holds the token, and coordinates are the reader's work."""

    def _answer(self, make: Callable[[str, Mapping[str, str]], tuple[str, bytes]]) -> None:
        try:
            name, query = self._check()
            kind, body = make(name, query)
            status = HTTPStatus.OK
        except _Refused as refusal:
            status, kind, body = refusal.status, "application/json", _json({"error": refusal.reason})
            self.close_connection = True
        except InputError as error:
            status, kind, body = HTTPStatus.CONFLICT, "application/json", _json({"error": str(error)})
        except Exception as error:  # noqa: BLE001  a defect answers too, and says no path
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            kind, body = "application/json", _json({"error": f"a defect of miliary: {type(error).__name__}"})
        self._send(status, kind, body)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what is no request, or of a method that is not known, as everything else is answered."""
        del explain
        self.close_connection = True
        status = HTTPStatus(code)
        with contextlib.suppress(OSError):
            self._send(status, "application/json", _json({"error": (message or status.phrase)[:200]}))

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        for header, value in _HEADERS.items():
            self.send_header(header, value)
        text = kind.startswith("text/") or kind == "application/json"
        self.send_header("Content-Type", f"{kind}; charset=utf-8" if text else kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _check(self) -> tuple[str, Mapping[str, str]]:
        """The name and query of a request that may be answered."""
        if not self.server.accepts_host(self.headers.get("Host", "")):
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this server is not the one asked for")
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers.get('Host')}":
            raise _Refused(HTTPStatus.FORBIDDEN, "only the viewer's own page is answered")
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise _Refused(HTTPStatus.BAD_REQUEST, "this is no address") from None
        # An address with a host of its own goes before the header.
        if parts.netloc and not self.server.accepts_host(parts.netloc):
            raise _Refused(HTTPStatus.MISDIRECTED_REQUEST, "this server is not the one asked for")
        token, slash, name = parts.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            raise _Refused(HTTPStatus.FORBIDDEN, "the address is not complete: copy it from the terminal")
        if not slash:
            raise _Refused(HTTPStatus.NOT_FOUND, "the address ends in '/'")
        try:
            query = parse_qs(parts.query, max_num_fields=20)
        except ValueError:
            raise _Refused(HTTPStatus.BAD_REQUEST, "the question is too long") from None
        return name, {key: values[-1] for key, values in query.items()}

    def _get(self, name: str, query: Mapping[str, str]) -> tuple[str, bytes]:
        if name == "form" or (name == "" and self.server.only_case):
            return "text/html", _read_static("form.html")
        if name == "":
            self.server.refresh()
            return "text/html", _render_page(self.server).encode()
        if name in _STATIC:
            return _STATIC[name], _read_static(name)
        answers = {
            "case": self._case,
            "study": self._study,
            "nodules": self._nodules,
            "slice": self._slice,
            "box": self._box,
            "volume": self._volume,
            "map": self._map,
            "corrections": self._corrections,
        }
        if name not in answers:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is nothing of this name")
        return answers[name](query)

    def _post(self, name: str, _query: Mapping[str, str]) -> tuple[str, bytes]:
        if name in ("case", "case-check"):
            sent = self._read_body(MAX_BYTES)
            make = save_form if name == "case" else check_form
            with self.server.editing:
                return "application/json", _json(make(self.server.case_folder, sent))
        if name != "corrections":
            raise _Refused(HTTPStatus.NOT_FOUND, "nothing of this name can be saved")
        content = self._read_body(MAX_BODY_BYTES)
        if self.server.study.scan(str(content.get("scan"))) is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such scan")
        allowed = {"reader", "scan", "kind", "position_lps_mm", "nodule_id", "lesion_id", "ends_lps_mm"}
        if strangers := sorted(set(content) - allowed - {"withdraws"}):
            raise _Refused(HTTPStatus.BAD_REQUEST, f"a correction has no {strangers[0]!r}")
        saved = append_correction(self.server.study.corrections_file, content)
        return "application/json", _json(correction_to_dict(saved))

    def _case(self, _query: Mapping[str, str]) -> tuple[str, bytes]:
        return "application/json", _json(read_form(self.server.case_folder))

    def _read_body(self, most: int) -> dict[str, Any]:
        """The JSON object that our own page sent."""
        if self.headers.get_content_type() != "application/json":
            raise _Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "what is saved is sent as JSON")
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            raise _Refused(HTTPStatus.LENGTH_REQUIRED, "the length is missing") from None
        if not 0 < length <= most:
            raise _Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "what is saved is smaller than that")
        try:
            content = json.loads(self.rfile.read(length))
        except TimeoutError:
            raise _Refused(HTTPStatus.REQUEST_TIMEOUT, "the correction did not come") from None
        except (ValueError, RecursionError):
            raise _Refused(HTTPStatus.BAD_REQUEST, "this is not JSON") from None
        if not isinstance(content, dict):
            raise _Refused(HTTPStatus.BAD_REQUEST, "what is saved is an object")
        return content

    def _study(self, _query: Mapping[str, str]) -> tuple[str, bytes]:
        study = self.server.study
        content = {
            "title": study.title,
            "version": __version__,
            "reader": self.server.reader,
            "windows": WINDOWS,
            "has_webgl": has_bundle(),
            "problems": study.problems,
            "scans": [_describe_scan(scan, study) for scan in study.scans],
            "links": [
                {"from": a.label, "to": b.label}
                for a, b in itertools.combinations(study.scans, 2)
                if study.find_path(a.label, b.label)
            ],
            "pairs": [{"from": a, "to": b, "ids": ids} for (a, b), ids in study.pairs.items()],
        }
        return "application/json", _json(content)

    def _nodules(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        return "application/json", _json(dict(self._scan(query).nodules))

    def _slice(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        volume = self._shown_volume(query)
        plane = query.get("plane", "axial")
        if plane not in PLANES:
            raise _Refused(HTTPStatus.BAD_REQUEST, f"plane must be one of {', '.join(PLANES)}")
        axis = PLANES.index(plane)
        slab_mm = _number(query, "slab", 0.0, low=0.0, high=MAX_SLAB_MM)
        gray = render_slab(
            volume,
            plane=plane,
            index=int(_number(query, "index", 0, low=0, high=volume.grid.shape_zyx[axis] - 1)),
            n_slices=count_slices(slab_mm, volume.grid.spacing_zyx_mm[axis]),
            low_hu=_number(query, "low", -1350.0, low=-40000, high=40000),
            high_hu=_number(query, "high", 150.0, low=-40000, high=40000),
        )
        return "image/png", encode_png(gray)

    def _box(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Where `volume` of the same step lies in the stored volume, and its shape."""
        volume, step = self._shown_volume(query), self._step(query)
        box = volume.lung_box()
        content = {
            "start_zyx": [part.start for part in box],
            "shape_zyx": [len(range(part.start, part.stop, step)) for part in box],
            "step": step,
        }
        return "application/json", _json(content)

    def _step(self, query: Mapping[str, str]) -> int:
        return int(_number(query, "step", 1, low=1, high=8))

    def _volume(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        """Little-endian int16 of the lungs' box, every `step`-th voxel."""
        volume, step = self._shown_volume(query), self._step(query)
        box = volume.lung_box()
        self.server.keep(volume)
        part = volume.load()[tuple(slice(s.start, s.stop, step) for s in box)]
        return "application/octet-stream", np.ascontiguousarray(part, dtype="<i2").tobytes()

    def _map(self, query: Mapping[str, str]) -> tuple[str, bytes]:
        x, y, z = (_number(query, axis, None, low=-1e4, high=1e4) for axis in "xyz")
        found = self.server.study.map_point(query.get("from", ""), query.get("to", ""), (x, y, z))
        return "application/json", _json({"point": found})

    def _corrections(self, _query: Mapping[str, str]) -> tuple[str, bytes]:
        """Every saved correction that holds, and of each scan those that its result does not hold yet."""
        saved = read_corrections(self.server.study.corrections_file)
        held: list[Correction] = []
        pending: list[Correction] = []
        for scan in self.server.study.scans:
            applied = find_applied_through(scan.summary)
            held += select_active(saved, scan.label)
            pending += select_pending(saved, scan.label, applied)
        content = {
            "active": [correction_to_dict(c) for c in sorted(held, key=lambda c: c.number)],
            "pending": sorted(c.number for c in pending),
        }
        return "application/json", _json(content)

    def _scan(self, query: Mapping[str, str]) -> ShownScan:
        scan = self.server.study.scan(query.get("scan", ""))
        if scan is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "there is no such scan")
        return scan

    def _shown_volume(self, query: Mapping[str, str]) -> LazyVolume:
        volume = self._scan(query).volume
        if volume is None:
            raise _Refused(HTTPStatus.NOT_FOUND, "this result holds no images")
        return volume


def count_slices(slab_mm: float, spacing_mm: float) -> int:
    """Slices in a slab of this thickness, at least one."""
    return max(1, round(slab_mm / spacing_mm))


def _number(query: Mapping[str, str], name: str, default: float | None, *, low: float, high: float) -> float:
    text = query.get(name)
    if text is None and default is not None:
        return default
    try:
        value = float(text or "")
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise _Refused(HTTPStatus.BAD_REQUEST, f"{name} must be a number from {low:g} to {high:g}")
    return value


def _json(content: Any) -> bytes:
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _describe_scan(scan: ShownScan, study: ShownStudy) -> dict[str, Any]:
    """What the page needs to know of a scan beside its nodules."""
    about: dict[str, Any] = {
        "label": scan.label,
        # What the label does not say by itself.
        "role": "nadir" if scan.label == study.nadir else "",
        "origin": (scan.summary.origin if scan.summary else None) or "",
        "problems": scan.problems,
        "n_nodules": len(scan.nodules["id"]),
        "lesions": list_lesions(scan.summary),
        "grid": None,
    }
    if scan.volume is not None:
        about["grid"] = asdict(scan.volume.grid)
    return about


def _read_static(name: str) -> bytes:
    try:
        return resources.files("miliary.viewer").joinpath(f"static/{name}").read_bytes()
    except FileNotFoundError:
        raise _Refused(HTTPStatus.NOT_FOUND, "this part was not built: run 'make viewer'") from None


def _render_page(server: ViewerServer) -> str:
    """The page, its first slice already in it: it is seen before any script has run."""
    page = _read_static_text("index.html")
    scan = next((scan for scan in server.study.scans if scan.volume is not None), None)
    first = ""
    if scan is not None and scan.volume is not None:
        center, width = WINDOWS["lung"]
        address = (
            f"slice?scan={_quote(scan.label)}&plane=axial&index={scan.volume.grid.shape_zyx[0] // 2}"
            f"&slab={FIRST_SLAB_MM:g}&low={center - width / 2:g}&high={center + width / 2:g}"
        )
        first = f'<img id="first" src="{html.escape(address)}" alt="Axial slab of {html.escape(scan.label)}">'
    return page.replace("<!--title-->", html.escape(server.study.title)).replace("<!--first-->", first)


def _read_static_text(name: str) -> str:
    return resources.files("miliary.viewer").joinpath(f"static/{name}").read_text("utf-8")


def _quote(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
