"""The first attempts of a run and the estimate of the whole, against endpoints on real sockets."""

import json
from collections import Counter

import pytest

from tests.roles.failing import serving
from vcjax.adversarial.config import SynthesisConfig
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.adversarial.preview import preview, table
from vcjax.adversarial.run import synthesize
from vcjax.core.errors import UserError
from vcjax.core.files import read_json

NOUNS = ("bench", "bridge", "market", "school", "garden", "station", "tunnel", "fountain")
PRICES = "#prompt_price=2#price=10"


@pytest.fixture
def server():
    with serving() as running:
        yield running


@pytest.fixture
def config(server, small_charter, tmp_path):
    """A function from options of the endpoints to a config of eight attempts."""
    questions = tmp_path / "questions.jsonl"
    records = [
        {
            "id": f"{n}",
            "question": f"Which {noun} near {noun}town would you give up for a {noun} park?",
            "lang": "en",
            "domain": ("parks", "trains")[n % 2],
        }
        for n, noun in enumerate(NOUNS)
    ]
    questions.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    charter = str(small_charter(tmp_path / "small.yaml"))

    def make(options: str) -> SynthesisConfig:
        endpoint = f"{server.url}#m#tries=1#concurrency=1{options}"
        return SynthesisConfig(
            charter=charter,
            attacker=endpoint,
            actor=endpoint,
            critic=endpoint,
            attacker_family="a",
            actor_family="a",
            critic_family="c",
            benchmark="",
            questions=str(questions),
            attempts=len(NOUNS),
            attacks="dilemma",
            languages="en",
            answers=1,
            critic_form="simple",
            wave=2,
        )

    return make


def spent(workdir) -> dict[str, Counter]:
    with Ledger(workdir / "ledger.sqlite") as ledger:
        totals: dict[str, Counter] = {}
        for row in ledger.spending():
            counts = Counter({name: row[name] for name in ("calls", "prompt_tokens", "tokens")})
            totals[row["role"]] = totals.get(row["role"], Counter()) + counts
        return totals


def test_a_preview_is_the_start_of_the_run_and_knows_its_end(config, server, tmp_path):
    shown: list[str] = []
    workdir = tmp_path / "run"
    found = preview(config(PRICES), workdir, 2, shown.append)
    asked = server.tries.copy()
    assert (found["attempts"], found["whole"]) == (2, 8)
    prompts = [body["messages"][-1]["content"] for body in server.bodies]
    assert {one.rpartition("[user] ")[2] for one in shown} == set(prompts)
    assert all(" at most " in one.splitlines()[0] for one in shown)
    assert read_json(workdir / "preview.json") == found

    whole = {row["role"]: Counter(row["whole"]) for row in found["rows"]}
    summary = synthesize(config(PRICES), workdir)
    assert summary["attempts"] == 8
    assert all(server.tries[text] >= tries for text, tries in asked.items())
    assert sum(server.tries.values()) == sum(count["calls"] for count in spent(workdir).values())
    assert spent(workdir) == whole  # here every attempt takes the same
    bill = sum(row["cost"] for row in summary["usage"])
    assert found["cost"]["whole"] == pytest.approx(bill)
    assert found["cost"]["so_far"] == pytest.approx(bill / 4)
    assert f"endpoints: {bill / 4:.4g} so far, {bill:.4g} in all" in table(found)[-1]


def test_a_price_that_is_not_known_is_null_and_not_zero(config, tmp_path):
    found = preview(config("#price=10"), tmp_path / "run", 2, lambda text: None)
    assert {row["cost"]["whole"] for row in found["rows"]} == {None}
    assert found["cost"] == {"so_far": None, "whole": None}
    assert table(found)[-1] == "  endpoints: unknown so far, unknown in all"
    assert {row["cost"] for row in read_json(tmp_path / "run" / "summary.json")["usage"]} == {None}
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "unknown" in card
    own = {**found, "rows": [{**row, "is_endpoint": False} for row in found["rows"]]}
    assert "endpoints" not in "\n".join(table(own))


def test_the_bill_has_the_calls_from_before_their_price_was_known(config, tmp_path):
    preview(config(""), tmp_path / "run", 2, lambda text: None)
    found = preview(config(PRICES), tmp_path / "run", 4, lambda text: None)
    bill = sum(row["cost"] for row in read_json(tmp_path / "run" / "summary.json")["usage"])
    assert found["cost"]["so_far"] == pytest.approx(bill)


@pytest.mark.parametrize("count", [0, 9])
def test_a_preview_is_part_of_the_run(config, tmp_path, count):
    with pytest.raises(UserError, match=f"--preview={count}: the run has config.attempts=8"):
        preview(config(""), tmp_path / "run", count, lambda text: None)
    assert not (tmp_path / "run").exists()
