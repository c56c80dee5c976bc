"""Nobody but the page itself gets anything from the server, and it leaves nothing but what it was asked to save."""

from __future__ import annotations

import http.client
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlencode

import pytest
from command import LIMIT, call, tree
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from look_page import Page, served

SMALL = ("poni=data/tiny.poni", "data/ni_1.tiff", "integ.npt=50")
JSON = "application/json"


def test_without_the_token_nothing_is_answered(page: Page) -> None:
    for path in ("/", "/api/info", "/main.js", "/plotly.js", "/api/alive", "/?token=guess", "/?token=", "/nothing"):
        for headers in ({}, {"X_Token": "guess"}, {"Cookie": f"xrdpipe-look-{page.port}=guess"}, {"Cookie": "a=;b"}):
            reply = page.ask("GET", path, **headers)
            assert reply.status == 403
            assert page.token.encode() not in reply.body
    assert page.ask("POST", "/api/end", b"{}", Content_Type=JSON).status == 403
    assert page.get("/api/info").status == 200


def test_the_token_of_the_address_becomes_a_cookie_that_other_sites_cannot_use(page: Page) -> None:
    reply = page.ask("GET", f"/?token={page.token}")
    assert (reply.status, reply.headers["location"]) == (303, "/")
    cookie = reply.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert page.ask("GET", "/api/info", Cookie=cookie.partition(";")[0]).status == 200


@pytest.mark.slow
def test_the_address_on_the_command_line_of_the_browser_is_good_for_one_visit(measured: Path, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/part && mv {tmp_path}/part {tmp_path}/address\n')
    browser.chmod(0o755)
    with served(measured, *SMALL, browser=f"{browser} %s") as page:
        while not (tmp_path / "address").exists():
            time.sleep(0.05)
        path = "/" + (tmp_path / "address").read_text().strip().rpartition("/")[2]
        assert page.token not in path
        assert [page.ask("GET", path).status for _ in range(3)] == [303, 403, 403]


def test_another_host_or_origin_is_refused(page: Page) -> None:
    for host in (f"evil.example:{page.port}", "127.0.0.1", f"127.0.0.1:{page.port}.evil.example", ""):
        assert page.ask("GET", "/api/info", X_Token=page.token, Host=host).status == 403
    body = b"{}"
    known = {"X_Token": page.token, "Content_Type": JSON}
    for origin in ("http://evil.example", f"https://127.0.0.1:{page.port}", "null", f"http://127.0.0.1:{page.port}x"):
        assert page.ask("POST", "/api/view", body, **known, Origin=origin).status == 403
    assert page.ask("POST", "/api/view", body, **known, Origin=f"http://localhost:{page.port}").status == 200


def test_a_form_of_another_site_and_a_large_request_are_refused(page: Page) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert page.ask("POST", "/api/view", b"{}", X_Token=page.token, Content_Type=kind).status == 415
    large = b" " * (1 << 20) + b"{}"
    assert page.ask("POST", "/api/view", large, X_Token=page.token, Content_Type=JSON).status == 413
    for body in (b"", b"{", b"[]", b"null", b"1" * 10_000, b"[" * 100_000, b'{"frame": NaN}', b"\xff"):
        assert page.ask("POST", "/api/view", body, X_Token=page.token, Content_Type=JSON).status in (200, 400)
    assert page.get("/api/info").status == 200


def test_every_answer_says_what_the_page_may_load(page: Page) -> None:
    for path in ("/", "/api/info", "/nothing", "/plotly.js"):
        headers = page.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "script-src" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
    assert page.get("/api/info").headers["cache-control"] == "no-store"


def test_no_path_leads_out_of_the_folders(page: Page) -> None:
    before = tree(page.folder)
    for path in ("/../session.py", "/%2e%2e/session.py", "/..%2fsession.py", "//etc/passwd", "/%2fetc%2fpasswd"):
        reply = page.get(path)
        assert (reply.status, b"import" in reply.body) == (404, False)
    for name in ("../x", "/etc/x", "a/b", ".hidden", "", "x" * 65, "a\nb", "a\0", None, ["x"], "ü"):
        content = {"view": {}, "name": name, "what": "experiment"}
        reply = page.post("/api/save", content)
        assert reply.status == 400, reply
        assert "name" in reply.json["error"]["message"]
    for content in ({"what": "mask"}, {"what": "shell"}, {"what": "experiment", "view": {"frame": "../x"}}):
        assert page.post("/api/save", {"view": {}, "name": "good", **content}).status == 400
    assert tree(page.folder) == before


def test_shapes_are_bounded_and_wrong_ones_are_an_error_of_the_view(page: Page) -> None:
    for shapes in (
        [{"kind": "star", "points": [[1, 1]]}],
        [{"kind": "polygon", "points": [[1, 1], [2, 2]]}],
        [{"kind": "circle", "points": [[1, 1]], "radius": 0}],
        [{"kind": "circle", "points": [[1, 1]], "radius": 1e300}],
        [{"kind": "rectangle", "points": [[1, "a"], [2, 2]]}],
        [{"kind": "brush", "points": [[1, 1, 1]], "radius": 2}],
        [{"kind": "threshold", "points": []}],
        [{"kind": "rectangle", "points": [[0, 0], [1, 1]]}] * 1001,
        {"kind": "polygon"},
        [None],
    ):
        reply = page.post("/api/view", {"shapes": shapes})
        assert (reply.status, reply.json["error"]["key"]) == (200, "shapes"), reply
    far = [{"kind": "circle", "points": [[-1e6, 1e6]], "radius": 5}, {"kind": "polygon", "points": [[-9, -9]] * 3}]
    assert "user" not in page.view(shapes=far)["masked"]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "${a}", "1e5", [1, 4], "q_nm^-1", "mad"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)
keys = st.sampled_from(["mask.alpha", "mask.edge", "mask.grow", "integ.unit", "integ.radial_range", "background.scale"])
keys |= st.sampled_from(["integ.method", "integ.monitor", "mask.auto_type", "mask._target_", "background.weights"])
point = st.tuples(st.floats(-50, 150), st.floats(-50, 150)).map(list)
shape = st.fixed_dictionaries(
    {"kind": st.sampled_from(["polygon", "rectangle", "circle", "ring", "brush", "threshold"])},
    optional={
        "points": st.lists(point, max_size=4) | values,
        "radius": st.floats(0, 50) | values,
        "low": values,
        "high": st.floats(0, 1000) | values,
        "unmask": values,
    },
)
view = st.fixed_dictionaries(
    {},
    optional={
        "frame": st.integers(-1, 5) | values,
        "combine": st.sampled_from(["frame", "sum", "maximum"]) | values,
        "choices": st.dictionaries(st.sampled_from(["mask", "output"]), st.sampled_from(["strict", "none", "x"])),
        "values": st.dictionaries(keys, values, max_size=1),
        "shapes": st.lists(shape, max_size=1),
        "name": values,
    },
)


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(view=view | values, part=st.dictionaries(st.sampled_from(["rows", "low", "scale", "width", "slow"]), values))
def test_whatever_is_asked_is_answered_with_numbers_or_a_reason(
    page: Page, view: object, part: dict[str, object]
) -> None:
    answer = page.post("/api/view", view)
    assert answer.status == 200, answer
    error = answer.json["error"]
    assert (error is None) == (answer.json["pattern"] is not None)
    assert error is None or error["message"]
    query = urlencode({"id": answer.json["id"], "fast": 3, **part}, errors="replace")
    for path in ("picture", "pixel", "cake"):
        assert page.get(f"/api/{path}?{query}").status in (200, 400, 410)


@pytest.mark.slow
def test_the_server_ends_when_the_page_says_so_and_leaves_nothing(measured: Path) -> None:
    before = tree(measured)
    with served(measured, *SMALL) as page:
        page.view(shapes=[{"kind": "circle", "points": [[60, 30]], "radius": 9}])
        assert page.post("/api/end", {}).status == 200
        _, err = page.process.communicate(timeout=LIMIT)
        assert (page.process.returncode, err.splitlines()[-1]) == (0, "xrdpipe: the page is closed")
    assert tree(measured) == before


@pytest.mark.slow
def test_closing_the_last_tab_ends_the_server_unless_it_shall_stay(measured: Path) -> None:
    for words, ends in ((), True), (("stay=true",), False):
        with served(measured, *SMALL, *words) as page:
            for _ in range(2):  # a reload: the second tab opens soon after the first is closed
                _listen(page).close()
            time.sleep(0 if ends else 8)
            if ends:
                assert page.process.wait(LIMIT) == 0
            else:
                assert page.get("/api/info").status == 200
                assert page.stop()[0] == 130


def _listen(page: Page) -> http.client.HTTPConnection:
    """A tab: a connection that hears that the server is alive."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=LIMIT)
    connection.request("GET", "/api/alive", headers={"X-Token": page.token})
    answer = connection.getresponse()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.readline().startswith(b"data: [")  # what is being prepared
    return connection


def test_what_cannot_be_shown_is_refused_before_a_page_opens(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(measured)
    for words, expected in (
        ([], "say xrdpipe look"),
        (["data/ni_1.tiff"], "poni: missing"),
        (["poni=data/tiny.poni"], "images: missing"),
        (["poni=data/tiny.poni", "data/broken.tiff"], "no frame can be read"),
        ([*SMALL, "mask.alpha=-1"], "mask.alpha=-1.0: a number > 0 expected"),
        ([*SMALL, "port=http"], "port=http: a number"),
        ([*SMALL, "port=70000"], "port=70000: a number"),
        ([*SMALL, "stay=perhaps"], "stay=perhaps"),
        ([*SMALL, "save="], "save: a folder expected"),
        (["source=demo"], "source=demo: look shows frames that are there"),
        (["source=watch", "source.folder=data", "poni=data/tiny.poni"], "source=watch: look shows frames"),
        ([*SMALL, "-m", "mask.alpha=1,2"], "no sweep"),
    ):
        told = call("look", *words, "browser=false")
        assert (told.status, told.out, expected in told.err) == (2, "", True), told


def test_a_port_in_use_is_said(page: Page, measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(measured)
    told = call("look", *SMALL, f"port={page.port}", "browser=false")
    assert (told.status, f"port={page.port}: cannot be used" in told.err) == (2, True), told


def test_without_the_extra_the_command_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xrdpipe.cli.look.find_spec", lambda name: None)
    told = call("look", "poni=a.poni", "b.tiff")
    assert (told.status, "pip install 'xrdpipe[look]'" in told.err) == (2, True)


def test_nothing_of_the_extra_is_imported_by_other_commands(tmp_path: Path) -> None:
    code = "import sys, xrdpipe, xrdpipe.cli.main, xrdpipe.cli.look, xrdpipe.execution.run; print(*sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert not {"starlette", "uvicorn", "anyio", "xrdpipe.look"} & set(told.stdout.split())
