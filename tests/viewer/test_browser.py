"""The viewer as a reader meets it: in a real headless browser, by keyboard and by mouse."""

import csv
import io
import json
import os
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from miliary.exchange.folders.corrections_file import append_correction, read_corrections
from miliary.model.transform import Transform
from miliary.viewer import server
from miliary.viewer.server import has_bundle
from tests.chromium import Chromium
from tests.viewer.conftest import write_fates

LESION = {
    "id": 1,
    "long_axis_mm": 9.0,
    "long_axis_ends_lps_mm": [[-18.0, -6.0, 120.0], [-9.0, -6.0, 120.0]],
}
N_MANY = 10_000


@pytest.fixture(scope="module")
def browser():
    with Chromium() as running:
        yield running


@pytest.fixture
def show(browser, serve):
    """Open a folder and wait until everything but the graphics card is there."""
    pages = []

    def start(folder, script=""):
        client = serve(folder)
        page = browser.open(client.server.url, script=script)
        pages.append(page)
        page.wait_for("document.documentElement.dataset.ready && document.documentElement.dataset.list")
        page.wait_for("document.documentElement.dataset.frame || !document.querySelector('.pane canvas')")
        page.root = client.server.url
        return page

    yield start
    for page in pages:
        page.close()


@pytest.fixture
def page(study, show):
    path = study / "ct/baseline/scan.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"lesions": [LESION]}))
    shown = show(study)
    yield shown
    assert shown.errors == []
    # Nothing leaves: only this server is asked, and what the page makes itself.
    assert [r for r in shown.requests if not r.startswith((shown.root, "data:", "blob:"))] == []


def _need_bundle():
    if not has_bundle():
        if os.environ.get("CI") == "true":
            pytest.fail("the viewer's bundle was not built")
        pytest.skip("the viewer's bundle was not built: run 'make viewer'")


def _place(page, number=0):
    """What the pane says of its slice and place."""
    return page.evaluate(f"document.querySelectorAll('.pane .name')[{number}].lastChild.textContent")


def _slice(page, number=0):
    return int(_place(page, number).split()[1].split("/")[0])


def _focus(page, selector):
    page.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")


def _settle(page):
    """Until what was asked for is on the screen."""
    page.wait_for(
        "[...document.querySelectorAll('.pane .view')].every(v => v.getAttribute('aria-busy') === 'false')"
    )
    page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def _look(page, tmp_path):
    _settle(page)
    page.screenshot(tmp_path / "look.png")
    return np.asarray(Image.open(tmp_path / "look.png").convert("L"), dtype=float)


def _box(page, selector):
    x, y, w, h = page.evaluate(
        f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
        "return [b.x, b.y, b.width, b.height]; })()"
    )
    return slice(int(y) + 1, int(y + h) - 1), slice(int(x) + 1, int(x + w) - 1)


def test_both_scans_are_seen_with_their_marks(page, tmp_path):
    picture = _look(page, tmp_path)
    for number in (1, 2):
        pane = picture[_box(page, f".pane:nth-of-type({number}) .view")]
        # Lung, body and what is around them.
        assert pane.std() > 20
    assert page.evaluate("document.getElementById('count').textContent") == "5 nodules"
    assert page.evaluate("document.querySelectorAll('#list .row').length") == 5
    assert page.evaluate("document.documentElement.lang") == "en"


def test_a_nodule_of_the_list_is_jumped_to_in_both_scans(page):
    page.click("#list .row:nth-child(1)")
    # z is 120 mm, the scan begins at 100 mm, slices are 2 mm apart; the follow-up lies 4 mm higher.
    first = page.evaluate("document.querySelector('.slice-row input').max")
    assert int(first) >= 20
    place = page.wait_for(
        "document.querySelectorAll('.pane .name')[1].lastChild.textContent.includes('124.0')"
    )
    assert place
    assert "-13.0, -6.0, 120.0 mm" in _place(page, 0)
    assert "-13.0, -6.0, 124.0 mm" in _place(page, 1)
    assert _slice(page, 1) == _slice(page, 0) + 2
    assert "Nodule 1" in page.evaluate("document.getElementById('status').textContent")


def test_everything_can_be_done_with_the_keyboard(page, study):
    _focus(page, "#list")
    for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
        page.press(key)
    assert "Nodule 1:" in page.evaluate("document.getElementById('status').textContent")
    page.press("End")
    assert "Nodule 5:" in page.evaluate("document.getElementById('status').textContent")
    _focus(page, ".pane .view")
    page.press("b")
    assert "Nodule 4:" in page.evaluate("document.getElementById('status').textContent")
    page.press("x")
    assert "not saved" in page.evaluate("document.getElementById('changes').textContent")
    assert page.evaluate("document.querySelector('#list .row.rejected span').textContent") == "4"
    page.press("PageDown")
    page.press("ArrowRight", shift=True)
    page.press("a")
    _focus(page, "#reader")
    page.press("Enter")
    page.wait_for("document.getElementById('pending').textContent.startsWith('2 saved')")
    rejected, added = read_corrections(study / "corrections.jsonl")
    assert (rejected.kind, rejected.nodule_id, rejected.reader) == ("reject_nodule", 4, "AB")
    assert rejected.position_lps_mm == (13.0, -4.0, 130.0)
    # One slice down, five millimetres to the patient's left.
    assert added.kind == "add_nodule"
    assert added.position_lps_mm[0] == pytest.approx(18.0)
    assert added.position_lps_mm[2] == pytest.approx(128.0, abs=1.01)
    assert page.evaluate("document.querySelectorAll('#changes li').length") == 2
    page.evaluate("document.querySelector('#changes button').click()")
    page.evaluate("document.getElementById('save').click()")
    page.wait_for("document.getElementById('pending').textContent.startsWith('1 saved')")
    assert [c.kind for c in read_corrections(study / "corrections.jsonl")][2:] == ["withdraw"]


def test_without_initials_nothing_is_saved(page, study):
    page.evaluate("document.getElementById('reader').value = ''")
    page.click("#add")
    page.click("#save")
    assert "initials" in page.evaluate("document.getElementById('message').textContent")
    assert page.evaluate("document.activeElement.id") == "reader"
    assert not (study / "corrections.jsonl").exists()
    page.evaluate("document.querySelector('#changes button').click()")


def test_the_ends_of_a_lesion_are_set_at_the_cross(page, study):
    page.click("#lesions button")
    _focus(page, ".pane .view")
    page.press("e")
    for _ in range(3):
        page.press("ArrowRight", shift=True)
    page.press("f")
    assert "15.0 mm" in page.evaluate("document.getElementById('status').textContent")
    assert "15.0 mm, corrected" in page.evaluate("document.getElementById('lesions').textContent")
    page.click("#save")
    page.wait_for("document.getElementById('pending').textContent")
    (saved,) = read_corrections(study / "corrections.jsonl")
    assert saved.lesion_id == 1
    assert np.diff(saved.ends_lps_mm, axis=0)[0] == pytest.approx([15, 0, 0], abs=1e-6)
    # From the middle of the old ends.
    assert saved.ends_lps_mm[0] == pytest.approx((-13.5, -6.0, 120.0))


@pytest.mark.parametrize(("applied_through", "is_drawn"), [(0, True), (1, False)])
def test_an_added_nodule_is_a_diamond_until_it_is_a_row(study, show, applied_through, is_drawn):
    content = {
        "reader": "AB",
        "scan": "baseline",
        "kind": "add_nodule",
        "position_lps_mm": [12.0, 5.0, 118.0],
    }
    append_correction(study / "corrections.jsonl", content)
    path = study / "ct/baseline/scan.json"
    known = {"corrections": {"applied_through": applied_through}}
    path.write_text(json.dumps(json.loads(path.read_text()) | known))
    page = show(study)
    page.click("#list .row:nth-child(2)")
    _settle(page)
    n_blue = page.evaluate(
        "(() => { const c = document.querySelectorAll('.pane .view canvas')[1];"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;"
        "for (let i = 0; i < d.length; i += 4) if (d[i] < 110 && d[i + 1] > 150 && d[i + 2] > 200) n++;"
        "return n; })()"
    )
    assert (n_blue > 10) is is_drawn
    assert page.errors == []


def test_a_click_in_the_picture_selects_the_mark_there(page):
    page.click("#list .row:nth-child(1)")
    _settle(page)
    left, top, _, height = page.evaluate(
        "(() => { const v = document.querySelector('.pane .view').getBoundingClientRect();"
        "return [v.x, v.y, v.width, v.height]; })()"
    )
    page.click_at(left + 5, top + height / 2)
    _settle(page)
    assert "-13.0, -6.0" not in _place(page, 0)
    page.evaluate("document.querySelectorAll('#tabs button')[1].click()")
    page.evaluate("document.querySelectorAll('#tabs button')[0].click()")
    _settle(page)
    # Amber is the color of the marks; both in this slab lie on either side, the leftmost is nodule 1.
    amber = page.evaluate(
        "(() => { const c = document.querySelectorAll('.pane .view canvas')[1];"
        "const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const found = [];"
        "for (let i = 0; i < d.length; i += 4)"
        " if (d[i] > 240 && Math.abs(d[i + 1] - 176) < 12 && d[i + 2] < 40)"
        " found.push([(i / 4) % c.width, Math.floor(i / 4 / c.width)]);"
        "return found; })()"
    )
    places = np.array(amber)
    ring = places[places[:, 0] < places[:, 0].min() + 25]
    page.click_at(left + ring[:, 0].mean(), top + ring[:, 1].mean())
    assert page.evaluate("document.getElementById('status').textContent").startswith("Nodule 1:")


def test_planes_windows_and_slabs_change_the_picture(page, tmp_path):
    seen = [_look(page, tmp_path)]
    _focus(page, ".pane .view")
    for key in ("p", "2", "s"):
        page.press(key)
        seen.append(_look(page, tmp_path))
    place = _box(page, ".pane .view")
    for before, after in pairwise(seen):
        assert np.abs(before[place] - after[place]).mean() > 0.5
    assert page.evaluate("['plane', 'window', 'slab'].map(id => document.getElementById(id).value)") == [
        "coronal",
        "mediastinum",
        "10",
    ]


@pytest.mark.parametrize("slab_mm", [0, 5, 10])
def test_the_graphics_card_draws_what_the_server_draws(page, tmp_path, slab_mm):
    _need_bundle()
    page.wait_for("document.documentElement.dataset.ready === 'webgl'")
    page.evaluate(
        f"document.getElementById('slab').value = '{slab_mm}';"
        "document.getElementById('slab').dispatchEvent(new Event('change'))"
    )
    # A nodule, so that every plane through it shows lung.
    page.click("#list .row:nth-child(1)")
    page.evaluate("document.getElementById('marks').click()")
    for plane in ("axial", "coronal", "sagittal"):
        page.evaluate(
            f"document.getElementById('plane').value = '{plane}';"
            "document.getElementById('plane').dispatchEvent(new Event('change'))"
        )
        pictures = []
        for _ in range(2):
            pictures.append(_look(page, tmp_path)[_box(page, ".pane .view")])
            page.evaluate("document.getElementById('webgl').click()")
        by_card, by_server = pictures
        # The card shows the lungs' box only.
        rows, columns = (np.flatnonzero(by_card.mean(axis=axis) > 20)[[5, -5]] for axis in (1, 0))
        inside = slice(*rows), slice(*columns)
        assert by_card[inside].size > 10_000
        # Both enlarge the same voxels, each in its own way of mixing neighbors.
        assert np.corrcoef(by_card[inside].ravel(), by_server[inside].ravel())[0, 1] > 0.99
        assert np.abs(by_card[inside] - by_server[inside]).mean() < 6


@pytest.fixture
def three_scans(study):
    """A third scan 8 mm higher, compared with the baseline only."""
    shutil.copytree(study / "ct/followup", study / "ct/late")
    compared = study / "compare/baseline__late"
    compared.mkdir()
    np.savez(compared / "transform.npz", **Transform.affine(np.eye(3), [0, 0, 8.0]).to_arrays())
    (study / "compare/series.json").write_text(json.dumps({"kind": "miliary.series", "nadir": "late"}))
    return study


def _names(page):
    return page.evaluate("[...document.querySelectorAll('.pane .name')].map(n => n.firstChild.textContent)")


def _choose(page, side, label):
    page.evaluate(
        f"document.getElementById('{side}').value = '{label}';"
        f"document.getElementById('{side}').dispatchEvent(new Event('change'))"
    )


def test_two_of_three_scans_are_chosen_and_stay_linked(three_scans, show, tmp_path):
    page = show(three_scans)
    assert _names(page) == ["baseline", "followup"]
    assert page.evaluate("[...document.getElementById('right').options].map(o => o.textContent)") == [
        "baseline",
        "followup",
        "late (nadir)",
    ]
    if has_bundle():
        page.wait_for("document.documentElement.dataset.ready === 'webgl'")
    _choose(page, "right", "late")
    page.wait_for("document.getElementById('count').textContent === '5 nodules'")
    assert _names(page) == ["baseline", "late"]
    page.click("#list .row:nth-child(1)")
    page.wait_for("document.querySelectorAll('.pane .name')[1].lastChild.textContent.includes('128.0')")
    # Two follow-ups are linked through the baseline.
    _choose(page, "left", "followup")
    page.wait_for("document.querySelectorAll('#list .row').length === 5")
    assert _names(page) == ["followup", "late"]
    assert not page.evaluate("document.getElementById('linked-box').hidden")
    page.click("#list .row:nth-child(1)")
    page.wait_for("document.querySelectorAll('.pane .name')[1].lastChild.textContent.includes('124.0')")
    if has_bundle():
        page.wait_for("document.documentElement.dataset.ready === 'webgl'")
    picture = _look(page, tmp_path)
    for number in (1, 2):
        assert picture[_box(page, f".pane:nth-of-type({number}) .view")].std() > 20
    # The scan of the other side changes sides.
    _choose(page, "left", "late")
    assert _names(page) == ["late", "followup"]
    assert page.errors == []


def test_corrections_stay_with_their_scan_when_another_is_chosen(three_scans, show):
    page = show(three_scans)
    page.click("#list .row:nth-child(2)")
    page.click("#reject")
    _choose(page, "left", "late")
    page.wait_for("document.querySelectorAll('#list .row').length === 5")
    assert page.evaluate("document.querySelectorAll('#list .row.rejected').length") == 0
    assert "baseline: nodule 2 is false" in page.evaluate("document.getElementById('changes').textContent")
    page.click("#save")
    page.wait_for("document.getElementById('pending').textContent")
    (saved,) = read_corrections(three_scans / "corrections.jsonl")
    assert saved.scan == "baseline"
    assert page.errors == []


def test_two_scans_need_no_choice(page):
    assert page.evaluate("[...document.querySelectorAll('.which')].every(box => box.hidden)")


def test_marks_lie_on_their_places_from_the_first_paint(study, show):
    """No pane changes its size after the first picture: it would be seen stretched."""
    page = show(
        study,
        "new MutationObserver(() => { const v = document.querySelector('.pane .view');"
        " if (v && v.clientWidth) (window.widths ??= new Set()).add(v.clientWidth); })"
        ".observe(document, { subtree: true, childList: true, attributes: true });",
    )
    assert page.evaluate("window.widths.size") == 1


def test_the_fates_of_a_comparison_filter_the_list_and_color_the_marks(study, show):
    write_fates(study / "compare/baseline__followup")
    page = show(study)
    assert page.evaluate("!document.getElementById('fate-box').hidden")
    page.evaluate(
        "document.getElementById('fate').value = 'no_longer_seen';"
        "document.getElementById('fate').dispatchEvent(new Event('change'))"
    )
    assert page.evaluate("document.getElementById('count').textContent") == "2 of 5 nodules"
    assert page.evaluate("document.querySelector('#list .row').lastChild.textContent") == "no longer seen"
    _focus(page, "#list")
    page.press("Home")
    assert ", no longer seen" in page.evaluate("document.getElementById('status').textContent")
    assert page.evaluate("!document.getElementById('by-fate-box').hidden")
    page.evaluate("document.getElementById('by-fate').click()")
    assert page.errors == []


def test_ten_thousand_nodules_are_a_handful_of_rows(study, show):
    path = study / "ct/baseline/nodules.csv"
    with path.open() as file:
        (row, *_) = csv.DictReader(file)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=row, lineterminator="\n")
    writer.writeheader()
    for number in range(1, N_MANY + 1):
        writer.writerow({**row, "id": number, "side": "left" if number % 4 else "right"})
    path.write_text(out.getvalue())
    page = show(study)
    assert page.evaluate("document.getElementById('count').textContent") == "10,000 nodules"
    assert 5 < page.evaluate("document.querySelectorAll('#list .row').length") < 80
    page.evaluate(
        "document.getElementById('find').value = 'right';"
        "document.getElementById('find').dispatchEvent(new Event('input'))"
    )
    assert page.evaluate("document.getElementById('count').textContent") == "2,500 of 10,000 nodules"
    _focus(page, "#list")
    page.press("End")
    assert "Nodule 10000:" in page.evaluate("document.getElementById('status').textContent")
    chosen = page.evaluate(
        "document.getElementById(document.getElementById('list').getAttribute('aria-activedescendant'))"
        ".getAttribute('aria-posinset')"
    )
    assert chosen == "2500"
    assert page.errors == []


def test_nothing_serious_stands_in_the_way_of_assistive_technology(page, root):
    axe = root / "web/node_modules/axe-core/axe.min.js"
    if not axe.is_file():
        if os.environ.get("CI") == "true":
            pytest.fail("axe-core is not there: 'make viewer' installs it")
        pytest.skip("axe-core is not there: run 'make viewer'")
    page.click("#list .row:nth-child(1)")
    page.evaluate("document.getElementById('help-button').click()")
    page.evaluate(axe.read_text() + "; 0")
    found = page.evaluate(
        "axe.run().then(r => r.violations.filter(v => ['serious', 'critical'].includes(v.impact))"
        ".map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 120)).join(' | ')))"
    )
    assert found == []


def test_a_result_without_images_still_lists_its_nodules(study, show):
    for label in ("baseline", "followup"):
        shutil.rmtree(study / f"ct/{label}/volume.zarr")
    page = show(study)
    assert page.evaluate("document.documentElement.dataset.ready") == "empty"
    assert "no images" in page.evaluate("document.getElementById('notes').textContent")
    page.click("#list .row:nth-child(2)")
    page.wait_for("document.getElementById('status').textContent.includes('Nodule 2:')")
    assert page.errors == []


def test_without_the_bundle_the_server_draws_and_the_page_says_so(study, show, monkeypatch):
    monkeypatch.setattr(server, "has_bundle", lambda: False)
    page = show(study)
    assert "drawn by the server" in page.evaluate("document.getElementById('notes').textContent")
    assert page.evaluate("document.documentElement.dataset.ready") == "slices"
    assert page.evaluate("document.getElementById('webgl-box').hidden")
    assert not [r for r in page.requests if "webgl" in r or "volume" in r]
    assert page.errors == []


def test_a_browser_without_webgl_falls_back_to_the_server(study, show):
    _need_bundle()
    page = show(
        study,
        "const real = HTMLCanvasElement.prototype.getContext;"
        "HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {"
        " return kind.startsWith('webgl') ? null : real.call(this, kind, ...rest); };",
    )
    page.wait_for("document.getElementById('status').textContent.includes('cannot be used')")
    assert page.evaluate("document.getElementById('webgl-box').hidden")
    _settle(page)
    page.click("#list .row:nth-child(1)")
    page.wait_for("document.getElementById('status').textContent.includes('Nodule 1:')")
