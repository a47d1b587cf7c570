"""The page's requests, over HTTP as Starlette's client makes them."""

import base64
import hashlib
import re
from collections.abc import Callable

import numpy as np
import pytest
from starlette.testclient import TestClient

from tests.review.conftest import SCRIPT
from vcjax.core.files import read_json
from vcjax.review.agreement import Summary
from vcjax.review.app import build_app
from vcjax.stats.agreement import cohen_kappa, krippendorff_alpha

LOCAL = "http://localhost:8010"


@pytest.fixture
def served(reopened, tmp_path) -> Callable[..., TestClient]:
    """A client of a review; the keywords are those of `build_app`."""

    def serve(address: str = LOCAL, **settings) -> TestClient:
        session = reopened()
        summary = Summary(session, tmp_path / "summary.json")
        return TestClient(build_app(session, summary, **settings), base_url=address)

    return serve


@pytest.fixture
def client(served) -> TestClient:
    return served()


def post(client: TestClient, action: str, name: str = "Li", **body) -> dict:
    response = client.post(f"/api/{action}", json={"annotator": name, **body})
    assert response.status_code == 200, response.text
    return response.json()


def score(client: TestClient, value: int, name: str = "Li", **body) -> dict:
    """Scores what `name` sees."""
    unit = post(client, "view", name)["unit"]
    scores = [{"code": answer["code"], "score": value} for answer in unit["answers"]]
    return post(client, "score", name, unit=unit["code"], scores=scores, **body)


def test_the_page_is_one_file_that_loads_and_runs_nothing_but_itself(client):
    page = client.get("/")
    assert client.get("/agreement").text == page.text
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert not re.search(r"(?i)(src|href)=.?(https?:|//)|@import|url\(", page.text)
    policy = dict(part.strip().split(" ", 1) for part in page.headers[POLICY].split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    for kind, tag in (("script-src", "script"), ("style-src", "style")):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", page.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert policy[kind] == f"'sha256-{digest}'"
    assert "innerHTML" not in page.text
    for name, value in (("x-content-type-options", "nosniff"), ("cache-control", "no-store")):
        assert page.headers[name] == client.get("/api/setting").headers[name] == value


POLICY = "content-security-policy"


def test_the_name_of_the_model_reaches_no_browser(client):
    seen = [client.get(path).text for path in ("/", "/api/setting", "/api/agreement")]
    for _ in range(10):
        seen.append(client.post("/api/view", json={"annotator": "Li"}).text)
        score(client, 3)
    whole = "\n".join(seen).casefold()
    assert "▮▮▮" in whole
    assert "quokka-7b" not in whole.replace("quokka-7bx", "")
    assert "recorded:" not in whole
    assert "run-quokka" not in whole


def test_an_answer_with_a_script_in_it_is_sent_as_text(client):
    texts = []
    for _ in range(10):
        response = client.post("/api/view", json={"annotator": "Li"})
        assert response.headers["content-type"] == "application/json"
        texts += [answer["text"] for answer in response.json()["unit"]["answers"]]
        score(client, 3)
    assert sum(SCRIPT in text for text in texts) == 2
    assert SCRIPT not in client.get("/").text


def test_one_scores_skips_goes_back_changes_and_takes_back(client):
    start = post(client, "view")
    assert (start["position"], start["total"], start["scored"]) == (0, 10, 0)
    assert start["unit"]["rubric"] in ("Weighs both sides.", "兼顾双方。")
    assert start["unit"]["conversation"][0]["role"] == "user"
    assert score(client, 4, reason=" So. ")["scored"] == 1
    skipped = post(client, "skip", unit=post(client, "view")["unit"]["code"], reason="no idea")
    assert (skipped["scored"], skipped["skipped"], skipped["position"]) == (1, 1, 2)
    post(client, "move", direction="back")
    back = post(client, "move", direction="back")
    assert back["unit"]["code"] == start["unit"]["code"]
    decision = back["unit"]["decision"]
    assert decision["reason"] == "So."
    assert [each["score"] for each in decision["scores"].values()] == [4]
    changed = score(client, 2)
    assert (changed["scored"], changed["position"]) == (1, 2)
    undone = post(client, "undo", event=changed["undoable"])
    assert undone["unit"]["code"] == start["unit"]["code"]
    assert [each["score"] for each in undone["unit"]["decision"]["scores"].values()] == [4]


def test_agreement_grows_with_the_scores_and_is_that_of_the_formulas(client, tmp_path):
    given: dict[str, dict[str, int]] = {"Li": {}, "Wu": {}}
    assert client.get("/api/agreement").json()["agreement"]["scores"]["alpha"] is None
    for turns in ((8, 5), (2, 1)):
        for name, times in zip(given, turns, strict=True):
            for number in range(times):
                unit = post(client, "view", name)["unit"]
                value = (len(unit["answers"][0]["text"]) * (number % 3 + 1)) % 6
                given[name][unit["answers"][0]["code"]] = value
                score(client, value, name)
        summary = client.get("/api/agreement").json()
        assert summary == read_json(tmp_path / "summary.json")
        found = summary["agreement"]["scores"]
        codes = sorted({code for scores in given.values() for code in scores})
        ratings = np.asarray([[s.get(code, np.nan) for code in codes] for s in given.values()])
        assert found["n"] == ((~np.isnan(ratings)).sum(axis=0) > 1).sum()
        assert found["alpha"]["value"] == pytest.approx(krippendorff_alpha(ratings, "ordinal"))
        (pair,) = found["pairs"]
        shared = sorted(given["Li"].keys() & given["Wu"].keys())
        a, b = ([scores[code] for code in shared] for scores in given.values())
        assert (pair["annotators"], pair["n"]) == (["Li", "Wu"], len(shared))
        assert pair["kappa"]["value"] == pytest.approx(cohen_kappa(a, b))
        weighted = cohen_kappa(a, b, "quadratic", range(6))
        assert pair["kappa_quadratic"]["value"] == pytest.approx(weighted)
        assert pair["mean_absolute_difference"] == np.abs(np.subtract(a, b)).mean()


MISTAKES = [
    ({"annotator": " "}, "annotator: give a name"),
    ({"annotator": "Li\x00"}, "annotator: "),
    ({"annotator": 3}, "annotator: "),
    ({"unit": "u0"}, "no longer part of the review"),
    ({"scores": []}, "scores: "),
    ({"scores": [{"code": "a0", "score": 6}]}, "score: 6 is not from 0 to 5"),
    ({"scores": [{"code": "a0", "score": 2.5}]}, "scores[0].score: "),
    ({"scores": [{"code": "a0", "score": True}]}, "scores[0].score: "),
    ({"reason": "x" * 5000}, "longer than 4000"),
    ({"reasn": "x"}, "reasn: unknown field; did you mean 'reason'?"),
]


@pytest.mark.parametrize(("change", "says"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_wrong_request_is_refused_in_one_line_and_changes_nothing(client, change, says):
    unit = post(client, "view")["unit"]
    scores = [{"code": unit["answers"][0]["code"], "score": 1}]
    body = {"annotator": "Li", "unit": unit["code"], "scores": scores} | change
    response = client.post("/api/score", json=body)
    assert response.status_code == 400
    assert says in response.json()["error"]
    assert "\n" not in response.json()["error"]
    assert post(client, "view")["scored"] == 0


def test_other_sites_pages_can_do_nothing_here(client):
    plain = {"Content-Type": "text/plain"}
    assert client.post("/api/score", content="{}", headers=plain).status_code == 415
    assert client.post("/api/view", content=b"x" * (1 << 17), headers=JSON).status_code == 413
    assert client.post("/api/view", content=b"{", headers=JSON).status_code == 400
    for host in ("evil.example", "evil.example:8010", "localhost.evil.example", ""):
        assert client.get("/api/setting", headers={"Host": host}).status_code == 403
    for host in ("localhost:8010", "127.0.0.1", "[::1]:8010"):
        assert client.get("/api/setting", headers={"Host": host}).status_code == 200
    assert client.get("/api/nothing").status_code == 404
    assert client.get("/api/score").status_code == 405


JSON = {"Content-Type": "application/json"}


def test_a_token_is_shown_once_and_then_kept_by_the_browser(served):
    client = served("http://node7:8010", token="a token of some length")
    for path in ("/", "/api/setting", "/?token=another", "/api/view"):
        assert client.get(path).status_code == 401
    opened = client.get("/?token=a token of some length", follow_redirects=False)
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    cookie = opened.headers["set-cookie"].casefold()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert client.get("/").status_code == 200
    assert post(client, "view")["total"] == 10


def test_a_review_of_one_annotator_is_nobody_else_s(served):
    client = served(annotator="Li")
    assert client.get("/api/setting").json()["annotator"] == "Li"
    assert post(client, "view", "Li")["total"] == 10
    refused = client.post("/api/view", json={"annotator": "Wu"})
    assert (refused.status_code, refused.json()["error"]) == (400, "annotator: this review is Li's")
