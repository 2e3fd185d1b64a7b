import io
import json
import shutil
import socket
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from miliary.exchange.folders.corrections_file import read_corrections
from miliary.exchange.folders.ct_store import write_ct_result
from miliary.exchange.folders.saved_scan import read_saved_scan
from miliary.exchange.folders.volume_store import read_stored_volume
from miliary.model.corrections import AppliedCorrections
from miliary.model.saved.scan_summary import LesionSummary, ScanSummary
from miliary.model.transform import Transform
from miliary.viewer import server
from miliary.viewer.server import count_slices
from miliary.viewer.viewed_study import list_lesions, read_shown_study
from tests.viewer.conftest import write_fates

ADDED = {"reader": "AB", "scan": "baseline", "kind": "add_nodule", "position_lps_mm": [1.0, 2.0, 120.0]}


def _picture(answer):
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "image/png"
    return np.asarray(Image.open(io.BytesIO(answer.body)))


def _windowed(values, low, high):
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)


def test_the_page_holds_its_first_slice(client):
    page = client.ask("")
    assert page.status == 200
    assert page.headers["Content-Type"].startswith("text/html")
    source = page.body.decode().split('<img id="first" src="')[1].split('"')[0].replace("&amp;", "&")
    assert _picture(client.ask(source)).ndim == 2


def test_the_study_says_what_there_is(client):
    study = client.ask("study").content
    assert [scan["label"] for scan in study["scans"]] == ["baseline", "followup"]
    assert study["links"] == [{"from": "baseline", "to": "followup"}]
    assert study["reader"] == "AB"
    assert study["problems"] == []
    assert study["scans"][0]["n_nodules"] == 5
    assert study["scans"][0]["grid"]["spacing_zyx_mm"] == [2.0, 1.5, 1.0]


def test_the_nodules_are_those_saved(client):
    columns = client.ask("nodules?scan=followup").content
    assert columns["id"] == [1, 2, 3, 4, 5]
    assert columns["z_mm"] == [120, 118, 110, 130, 140]
    assert columns["side"][:2] == ["right", "left"]


@pytest.mark.parametrize(("plane", "axis"), [("axial", 0), ("coronal", 1), ("sagittal", 2)])
def test_a_slab_is_the_brightest_of_its_slices(client, study, plane, axis):
    voxels = read_stored_volume(study / "ct/followup").read()
    spacing = (2.0, 1.5, 1.0)[axis]
    query = f"slice?scan=followup&plane={plane}&index=9&slab={3 * spacing}&low=-900&high=100"
    slab = voxels.take(range(8, 11), axis=axis).max(axis=axis)
    expected = _windowed(slab if plane == "axial" else slab[::-1], -900, 100)
    assert np.array_equal(_picture(client.ask(query)), expected)


@pytest.mark.parametrize("index", [0, 23])
def test_a_slab_at_the_end_of_the_scan_is_thinner(client, study, index):
    voxels = read_stored_volume(study / "ct/baseline").read()
    last = len(voxels) - 1
    index = min(index, last)
    part = voxels[max(0, index - 1) : index + 2]
    picture = _picture(client.ask(f"slice?scan=baseline&index={index}&slab=6&low=-1000&high=200"))
    assert np.array_equal(picture, _windowed(part.max(axis=0), -1000, 200))


def test_nodules_carry_what_became_of_them(study, serve):
    write_fates(study / "compare/baseline__followup")
    client = serve(study)
    before = client.ask("nodules?scan=baseline").content["fate"]
    assert before[:5] == ["kept", "shrunk", "grown", "no_longer_seen", "no_longer_seen"]
    assert client.ask("nodules?scan=followup").content["fate"][:5] == ["kept", "shrunk", "grown", "", "new"]


def test_without_a_comparison_no_nodule_has_a_fate(client):
    columns = client.ask("nodules?scan=baseline").content
    assert columns["fate"] == [""] * len(columns["id"])


def test_a_slab_has_at_least_one_slice():
    assert [count_slices(mm, 2.0) for mm in (0.0, 2.0, 5.0, 10.0)] == [1, 1, 2, 5]


@pytest.mark.parametrize("step", [1, 2, 3])
def test_the_volume_is_the_box_of_the_lungs(client, study, step):
    stored = read_stored_volume(study / "ct/baseline")
    box = client.ask(f"box?scan=baseline&step={step}").content
    got = np.frombuffer(client.ask(f"volume?scan=baseline&step={step}").body, "<i2").reshape(box["shape_zyx"])
    start = np.array(box["start_zyx"])
    stop = start + (np.array(box["shape_zyx"]) - 1) * step + 1
    place = tuple(slice(a, b, step) for a, b in zip(start, stop, strict=True))
    assert np.array_equal(got, stored.read()[place])
    # The lungs of the fixture, in the patient, are inside with some margin but not much of it.
    ends = stored.grid.lps_from_index([start, stop - 1])
    assert (ends[0] < [-22, -13, 106]).all()
    assert (ends[0] > [-32, -23, 96]).all()


def test_without_an_outline_of_the_lungs_the_volume_is_all_there_is(client, study):
    (study / "ct/baseline/lungs.nii.gz").unlink()
    box = client.ask("box?scan=baseline").content
    assert box["start_zyx"] == [0, 0, 0]
    assert box["shape_zyx"] == list(read_stored_volume(study / "ct/baseline").grid.shape_zyx)


def test_a_point_is_found_in_the_other_scan_and_back(client):
    there = client.ask("map?from=baseline&to=followup&x=1&y=2&z=120").content["point"]
    assert there == pytest.approx([1, 2, 124])
    back = client.ask("map?from=followup&to=baseline&x=1&y=2&z=124").content["point"]
    assert back == pytest.approx([1, 2, 120])
    assert client.ask("map?from=baseline&to=elsewhere&x=1&y=2&z=120").content["point"] is None


def test_corrections_are_appended_and_pending(client, study):
    before = {path: path.read_bytes() for path in study.rglob("*") if path.is_file()}
    saved = client.ask("corrections", method="POST", body=ADDED)
    assert (saved.status, saved.content["number"], saved.content["reader"]) == (200, 1, "AB")
    client.ask(
        "corrections",
        method="POST",
        body={**ADDED, "scan": "followup", "kind": "reject_nodule", "nodule_id": 2},
    )
    state = client.ask("corrections").content
    assert [c["kind"] for c in state["active"]] == ["add_nodule", "reject_nodule"]
    assert state["pending"] == [1, 2]
    withdrawal = {"reader": "CD", "scan": "baseline", "kind": "withdraw", "withdraws": 1}
    assert client.ask("corrections", method="POST", body=withdrawal).status == 200
    assert [c["number"] for c in client.ask("corrections").content["active"]] == [2]
    assert len(read_corrections(study / "corrections.jsonl")) == 3
    # Never over a result.
    assert {path: path.read_bytes() for path in before} == before


def test_what_a_result_holds_already_is_not_pending(study, serve, client):
    client.ask("corrections", method="POST", body=ADDED)
    path = study / "ct/baseline/scan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"corrections": {"applied_through": 1}}))
    assert serve(study).ask("corrections").content["pending"] == []


def test_a_scan_measured_anew_is_shown_when_the_page_is(client, study, make_result, make_nodules):
    client.ask("corrections", method="POST", body=ADDED)
    assert client.ask("corrections").content["pending"] == [1]
    applied = AppliedCorrections(applied_through=1, n_added=1)
    write_ct_result(
        make_result(nodules=make_nodules(6), corrections=applied),
        study / "ct/baseline",
        scan=read_saved_scan(study / "ct/baseline"),
    )
    client.ask("")
    assert client.ask("corrections").content["pending"] == []
    assert client.ask("nodules?scan=baseline").content["id"] == [1, 2, 3, 4, 5, 6]
    assert client.ask("slice?scan=baseline").status == 200
    # What is no study any more does not end the viewer.
    shutil.rmtree(study / "ct")
    assert client.ask("").status == 200
    assert client.ask("nodules?scan=baseline").content["id"] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"scan": "elsewhere"}, 404),
        ({"scan": "../baseline"}, 404),
        ({"reader": "not initials"}, 409),
        ({"position_lps_mm": ["<script>", 1, 2]}, 409),
        ({"number": 9}, 400),
        ({"time": "2020-01-01T00:00:00Z"}, 400),
    ],
)
def test_what_is_no_correction_is_refused(client, study, change, status):
    answer = client.ask("corrections", method="POST", body={**ADDED, **change})
    assert answer.status == status
    assert answer.content["error"]
    assert read_corrections(study / "corrections.jsonl") == ()


def test_a_damaged_corrections_file_is_told_and_left_alone(client, study):
    (study / "corrections.jsonl").write_text("nonsense\n")
    for answer in (client.ask("corrections"), client.ask("corrections", method="POST", body=ADDED)):
        assert answer.status == 409
        assert "corrections.jsonl line 1" in answer.content["error"]
    assert (study / "corrections.jsonl").read_text() == "nonsense\n"


# --- who may ask


@pytest.mark.parametrize("token", ["", "x", "A" * 32, "..", "%2e%2e"])
def test_without_the_token_nothing_is_told(client, token):
    for name in ("", "study", "slice?scan=baseline", "app.js", "nothing"):
        answer = client.ask_raw(f"/{token}/{name}")
        assert answer.status == 403
        assert b"baseline" not in answer.body
    assert client.ask_raw(f"/{token}/corrections", method="POST", body=ADDED).status == 403


def test_the_token_is_new_each_time_and_long(study, serve):
    tokens = {serve(study).server.token for _ in range(3)}
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "", "localhost.evil:{port}"]
)
def test_another_host_is_refused(client, host):
    host = host.format(port=client.server.server_address[1])
    answer = client.ask("study", headers={"Host": host})
    assert answer.status == 421
    assert b"baseline" not in answer.body


def test_localhost_is_this_server_too(client):
    host = f"localhost:{client.server.server_address[1]}"
    assert client.ask("study", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "../../../../etc/passwd",
        "..%2f..%2fetc%2fpasswd",
        "%2e%2e/server.py",
        "static/app.js",
        "index.html",
        "/etc/passwd",
        "app.js/../server.py",
        "..\\server.py",
        "slice?scan=..%2F..%2Fbaseline",
        "volume?scan=../ct/baseline",
        "nodules?scan=%2Fetc",
        "study%00.json",
    ],
)
def test_no_path_leads_out(client, path):
    answer = client.ask(path)
    assert answer.status == 404
    assert b"root:" not in answer.body
    assert b"import" not in answer.body


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Origin": "http://evil.example"}, ADDED, 403),
        ({"Origin": "null"}, ADDED, 403),
        ({"Content-Type": "text/plain"}, ADDED, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, ADDED, 415),
        ({}, b"[" * 60000, 400),
        ({}, b"{", 400),
        ({}, b"[]", 400),
        ({"Content-Length": "9999999"}, b"{}", 413),
        ({"Content-Length": "-1"}, b"{}", 413),
        ({"Content-Length": "many"}, b"{}", 411),
    ],
)
def test_only_the_own_page_saves(client, study, headers, body, status):
    answer = client.ask("corrections", method="POST", body=body, headers=headers)
    assert answer.status == status
    assert read_corrections(study / "corrections.jsonl") == ()


@pytest.mark.parametrize("name", ["study", "nodules", "", "app.js"])
def test_nothing_else_can_be_posted(client, name):
    assert client.ask(name, method="POST", body=ADDED).status == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE"])
def test_other_methods_are_not_known(client, method):
    assert client.ask("study", method=method).status == 501


def _ask_by_hand(client, text):
    """Everything that a connection answers until it is closed."""
    place = urlsplit(client.server.url)
    with socket.create_connection((place.hostname, place.port), timeout=20) as connection:
        connection.sendall(text.replace("HOST", place.netloc).replace("TOKEN", client.server.token).encode())
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        ("GET http://[bad/ HTTP/1.1\r\nHost: HOST\r\n\r\n", 400),
        ("GET /TOKEN/study\r\n\r\n", 421),
        ("GET http://evil/TOKEN/study HTTP/1.1\r\nHost: HOST\r\n\r\n", 421),
        ("NOTHING\r\n\r\n", 400),
        ("GET /TOKEN/study HTTP/9.9\r\nHost: HOST\r\n\r\n", 505),
        ("HEAD /TOKEN/study HTTP/1.1\r\nHost: HOST\r\n\r\n", 501),
        ("GET /TOKEN/study HTTP/1.1\r\nHost: HOST\r\nOrigin: http://evil\r\n\r\n", 403),
        (f"GET /{'a' * 70000} HTTP/1.1\r\nHost: HOST\r\n\r\n", 414),
        ("GET /TOKEN/study HTTP/1.1\r\n" + "A: b\r\n" * 200 + "\r\n", 431),
    ],
    ids=lambda part: str(part)[:24],
)
def test_what_is_no_request_is_answered_like_everything_else(client, request_text, status):
    answer = _ask_by_hand(client, request_text)
    assert b"defect" not in answer
    assert b"<html" not in answer.lower()
    if answer.startswith(b"HTTP"):  # version 0.9 knows no status
        assert answer.split(b" ")[1] == str(status).encode()
        assert b"Content-Security-Policy: default-src 'none'" in answer


def test_the_body_of_a_get_is_no_second_request(client):
    second = "GET /TOKEN/study HTTP/1.1\r\nHost: HOST\r\n\r\n"
    length = len(
        second.replace("HOST", urlsplit(client.server.url).netloc).replace("TOKEN", client.server.token)
    )
    text = f"GET /TOKEN/corrections HTTP/1.1\r\nHost: HOST\r\nContent-Length: {length}\r\n\r\n{second}"
    assert _ask_by_hand(client, text).count(b"HTTP/1.1 ") == 1


def test_two_hundred_requests_at_once_are_answered(client):
    with ThreadPoolExecutor(max_workers=200) as pool:
        answers = list(pool.map(lambda _: client.ask("nodules?scan=baseline").status, range(200)))
    assert answers == [200] * 200


def test_a_damaged_chunk_of_the_images_is_told_and_the_rest_shown(study, serve):
    for chunk in (study / "ct/baseline/volume.zarr/c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"\0" * 40)
    client = serve(study)
    answer = client.ask("slice?scan=baseline")
    assert answer.status == 409
    assert "is damaged" in answer.content["error"]
    assert client.ask("slice?scan=followup").status == 200


@pytest.mark.parametrize(
    "query",
    [
        "plane=oblique",
        "index=-1",
        "index=1000",
        "index=nan",
        "index=abc",
        "slab=1e9",
        "low=inf",
        "index=1" + "&x=1" * 30,
    ],
)
def test_a_slice_that_cannot_be_is_refused(client, query):
    assert client.ask(f"slice?scan=baseline&{query}").status == 400


def test_every_answer_keeps_to_itself(client):
    for path in ("", "study", "slice?scan=baseline", "nothing"):
        headers = client.ask(path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Python" not in headers.get("Server", "")


def test_it_listens_on_this_machine_only(client):
    assert client.server.server_address[0] == "127.0.0.1"


# --- what is missing


def test_a_result_without_images_still_lists(client, study, serve):
    shutil.rmtree(study / "ct/baseline/volume.zarr")
    partial = serve(study)
    scans = partial.ask("study").content["scans"]
    assert scans[0]["grid"] is None
    assert "no images" in scans[0]["problems"][0]
    assert partial.ask("slice?scan=baseline").status == 404
    assert partial.ask("nodules?scan=baseline").content["id"] == [1, 2, 3, 4, 5]
    assert partial.ask("slice?scan=followup").status == 200
    assert 'id="first"' in partial.ask("").body.decode()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"kind": "miliary.case"}'])
def test_a_damaged_summary_is_told(study, serve, content):
    (study / "ct/baseline/scan.json").write_text(content)
    scan = serve(study).ask("study").content["scans"][0]
    assert "scan.json cannot be read" in scan["problems"][0]
    assert scan["grid"] is not None


def test_a_scan_that_is_stated_and_gone_is_named(study, serve):
    entries = [{"label": name, "path": f"ct/{name}"} for name in ("baseline", "lost", "followup")]
    (study / "study.json").write_text(json.dumps({"ct": entries}))
    found = serve(study).ask("study").content
    assert [scan["label"] for scan in found["scans"]] == ["baseline", "followup"]
    assert found["problems"] == ["study.json names ct/lost, which is not there."]


@pytest.mark.parametrize(
    ("version", "said"),
    [("0.9", "by an earlier version"), ("2.0", "by a later version"), (None, "does not say"), ("1.7", None)],
)
def test_another_schema_version_is_told_and_shown(study, serve, version, said):
    path = study / "ct/baseline/scan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": version}))
    scan = serve(study).ask("study").content["scans"][0]
    assert scan["n_nodules"] == 5
    assert [said in text for text in scan["problems"]] == ([True] if said else [])


@pytest.mark.parametrize("junk", [None, 3, "x", [], [None], {}, {"a": 1}, [{"id": 1}], [["x"]], True])
@pytest.mark.parametrize("name", ["lesions", "warnings", "corrections", "origin", "nodules", "kind"])
def test_junk_in_a_summary_never_stops_the_viewer(study, serve, name, junk):
    path = study / "ct/baseline/scan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: junk}))
    client = serve(study)
    for address in ("", "study", "nodules?scan=baseline", "corrections", "slice?scan=baseline&index=3"):
        assert client.ask(address).status == 200, address


def test_lesions_that_cannot_be_drawn_are_listed_or_left_out():
    ends = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
    points = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    rows = (
        LesionSummary(1, long_axis_mm=9.5, long_axis_ends_lps_mm=points),
        LesionSummary(2, long_axis_mm=8.0),
        LesionSummary(3, long_axis_ends_lps_mm=points),
    )
    assert list_lesions(ScanSummary(lesions=rows)) == [
        {"id": 1, "long_axis_mm": 9.5, "long_axis_ends_lps_mm": ends},
        {"id": 2, "long_axis_mm": 8.0, "long_axis_ends_lps_mm": None},
    ]


@pytest.mark.parametrize("content", ["", "id,x_mm\n1,nonsense\n", "id,x_mm,y_mm,z_mm\n1,,2,3\n", "id\nx\n"])
def test_a_damaged_table_is_told(study, serve, content):
    (study / "ct/baseline/nodules.csv").write_text(content)
    damaged = serve(study)
    problems = damaged.ask("study").content["scans"][0]["problems"]
    assert damaged.ask("nodules?scan=baseline").content["id"] == []
    assert problems == ["nodules.csv cannot be read: no nodule is shown."]


def test_an_older_table_is_shown_as_far_as_it_goes(study, serve):
    (study / "ct/baseline/nodules.csv").write_text("id,x_mm,y_mm,z_mm\n3,1,2,3\n")
    columns = serve(study).ask("nodules?scan=baseline").content
    assert (columns["id"], columns["z_mm"], columns["diameter_mm"], columns["side"]) == (
        [3],
        [3],
        [None],
        [""],
    )


def _broken_stream():
    """An archive whose compressed stream is damaged: neither zip nor numpy has an error of its own for it."""
    file = io.BytesIO()
    np.savez_compressed(file, kind=np.zeros(1000))
    data = bytearray(file.getvalue())
    data[60:75] = b"\xff" * 15
    return bytes(data)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x93NUMPY", _broken_stream()])
def test_a_damaged_registration_is_told(study, serve, content):
    (study / "compare/baseline__followup/transform.npz").write_bytes(content)
    found = serve(study).ask("study").content
    assert found["links"] == []
    assert "not linked" in found["problems"][0]


def test_the_order_and_the_places_are_those_that_the_study_states(study, serve):
    (study / "scans").mkdir()
    (study / "ct/baseline").rename(study / "scans/first")
    entries = [
        {"label": "a", "path": "ct/followup"},
        {"label": "b", "path": "scans/first"},
        7,
        "../elsewhere",
    ]
    (study / "study.json").write_text(json.dumps({"kind": "miliary.study", "ct": entries}))
    shown = serve(study)
    assert [scan["label"] for scan in shown.ask("study").content["scans"]] == ["followup", "first"]
    assert shown.ask("slice?scan=first").status == 200


def test_a_single_result_is_shown_by_itself(study, serve):
    alone = serve(study / "ct" / "baseline")
    found = alone.ask("study").content
    assert [scan["label"] for scan in found["scans"]] == ["baseline"]
    assert alone.ask("corrections", method="POST", body=ADDED).status == 200
    assert len(read_corrections(study / "corrections.jsonl")) == 1


def test_a_part_that_was_not_built_is_named(client, monkeypatch):
    monkeypatch.setitem(server._STATIC, "gone.js", "text/javascript")
    answer = client.ask("gone.js")
    assert answer.status == 404
    assert "make viewer" in answer.content["error"]


def test_follow_ups_are_linked_through_the_baseline(study):
    """Both were compared with the baseline, 4 and 8 mm higher."""
    shutil.copytree(study / "ct/followup", study / "ct/late")
    place = study / "compare/baseline__late"
    place.mkdir()
    np.savez(place / "transform.npz", **Transform.affine(np.eye(3), [0, 0, 8.0]).to_arrays())
    shown = read_shown_study(study)
    assert shown.find_path("followup", "late") == ["followup", "baseline", "late"]
    assert shown.map_point("followup", "late", (1.0, 2.0, 3.0)) == pytest.approx([1.0, 2.0, 7.0])
    assert shown.map_point("late", "followup", (1.0, 2.0, 7.0)) == pytest.approx([1.0, 2.0, 3.0])
    assert shown.find_path("late", "nobody") == []


def test_no_more_volumes_are_kept_whole_than_are_looked_at(study, serve):
    for name in ("c", "d", "e"):
        shutil.copytree(study / "ct/followup", study / "ct" / name)
    client = serve(study)
    labels = ["baseline", "followup", "c", "d", "e"]
    for label in [*labels, "d"]:
        assert client.ask(f"volume?scan={label}&step=3").status == 200
    whole = [scan.label for scan in client.server.study.scans if scan.volume.is_whole]
    assert whole == ["c", "d", "e"]
    # What is no longer whole is still drawn, from its chunks.
    assert _picture(client.ask("slice?scan=baseline&index=10")).ndim == 2
