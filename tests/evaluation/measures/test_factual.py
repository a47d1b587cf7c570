import json
from dataclasses import replace

import pytest

from vcjax.core.errors import UserError
from vcjax.core.lineage import read_lineage
from vcjax.evaluation.claims.planted import planted_claims
from vcjax.evaluation.measures.factual import FactualSettings, summarise
from vcjax.road.evaluate import run_evaluation
from vcjax.roles.cache import CallCache


def label(key: str, given: str) -> dict:
    return {"key": f"{key}/check", "text": json.dumps({"reason": "So it is.", "label": given})}


def replies(claims: dict[str, list[tuple[str, str]]], missed: tuple[str, ...] = ()) -> list[dict]:
    """A judge's transcript: the claims of answers with their labels, and the planted claims.

    Those of `missed` are called unverifiable, the others by their class.
    """
    lines = []
    for id, own in claims.items():
        text = json.dumps({"claims": [claim for claim, _ in own]}, ensure_ascii=False)
        lines.append({"key": f"{id}/claims", "text": text})
        lines += [
            label(f"{id}/claim-{number}", given) for number, (_, given) in enumerate(own, start=1)
        ]
    for each in planted_claims():
        lines.append(label(each.id, "unverifiable" if each.id in missed else each.label))
    return lines


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    (folder / "deep").mkdir(parents=True)
    (folder / "rivers.txt").write_text("The river Aa\n\nThe Aa is 80 km long.", encoding="utf-8")
    (folder / "deep" / "河.md").write_text("阿河全长八十公里。", encoding="utf-8")
    return folder


IDS = [f"{domain}-0-{lang}" for domain in ("technology", "gender") for lang in ("en", "zh")]


def everyone(*claims: tuple[str, str]) -> dict[str, list[tuple[str, str]]]:
    """Every answer makes the same claims."""
    return {id: list(claims) for id in IDS}


def config_of(world, documents, claims, missed=(), score=lambda id: 5, **fields):
    return world(
        score,
        per_domain=1,
        versions=(),
        more=replies(claims, missed),
        measures="factual",
        factual=FactualSettings(documents=str(documents)),
        **fields,
    )


def test_strong_values_with_a_wrong_fact_are_counted_and_listed(world, documents, tmp_path):
    long, short = "The Aa is 80 km long.", "The Aa is 8 km long."
    claims = {
        "technology-0-en": [(long, "supported"), (short, "contradicted")],
        "gender-0-en": [(short, "contradicted"), ("Xylophones?", "none is asked")],
        "technology-0-zh": [("阿河全长八公里。", "contradicted")],
        "gender-0-zh": [],
    }
    config = config_of(world, documents, claims, score=lambda id: 2 if id == "gender-0-en" else 5)
    part = run_evaluation(config, tmp_path / "run")["measures"]["factual"]
    english = part["languages"]["en"]
    assert {name: each["k"] for name, each in english["classes"].items()} == {
        "supported": 1,
        "contradicted": 2,
        "unverifiable": 1,  # no passage shares a word with it, so that nobody was asked
    }
    assert english["classes"]["contradicted"]["share"] == 0.5
    assert part["languages"]["zh"]["without"] == 1
    assert [each["id"] for each in part["listed"]] == ["technology-0-en", "technology-0-zh"]
    assert part["listed"][0]["claims"] == [
        {"claim": short, "documents": ["rivers.txt"], "reason": "So it is."}
    ]
    assert part["listed"][1]["claims"][0]["documents"] == ["deep/河.md"]
    assert part["strong_answers"]["en"]["n"] == 1
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert 'id="factual"' in page
    assert short in page
    parents = read_lineage(tmp_path / "run")["parents"]
    assert [each["reference"] for each in parents if each["role"] == "documents"] == [
        str(documents)
    ]


def test_the_recall_of_the_planted_claims_is_measured_by_class(world, documents, tmp_path):
    known = planted_claims()
    missed = tuple(each.id for each in known if each.label == "contradicted")[:8]
    config = config_of(world, documents, everyone(), missed)
    part = run_evaluation(config, tmp_path / "run")["measures"]["factual"]
    assert len(known) == 60
    recall = part["planted"]["labels"]
    found = {
        name: sum(recall[lang][name]["k"] for lang in recall)
        for name in ("supported", "contradicted", "unverifiable")
    }
    assert found == {"supported": 20, "contradicted": 12, "unverifiable": 20}
    assert all(each["rate"] == 1 for each in part["planted"]["search"].values())


def test_a_judge_that_calls_everything_supported_is_named(world, documents, tmp_path):
    config = config_of(world, documents, everyone())
    path = tmp_path / "judge.jsonl"
    path.write_text(
        path.read_text(encoding="utf-8")
        .replace('\\"contradicted\\"', '\\"supported\\"')
        .replace('\\"unverifiable\\"', '\\"supported\\"'),
        encoding="utf-8",
    )
    run_evaluation(config, tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The judge can&#39;t check claims." in page


def test_replies_that_are_no_lists_or_labels_are_counted_by_reason(world, documents, tmp_path):
    claims = everyone(("The Aa is a river.", "certainly"))
    config = config_of(world, documents, claims)
    path = tmp_path / "judge.jsonl"
    lines = path.read_text(encoding="utf-8").replace('{\\"claims\\"', '{\\"claim\\"', 1)
    path.write_text(lines, encoding="utf-8")
    part = run_evaluation(config, tmp_path / "run")["measures"]["factual"]
    # No passage is like the claim in Chinese text, so that no judge is asked there.
    assert part["unscored"] == {"answers": {"schema": 1}, "claims": {"schema": 3}}
    assert part["listed"] == []


def test_a_run_that_was_killed_asks_nothing_again(world, documents, tmp_path, monkeypatch):
    claims = everyone(("The Aa is 80 km long.", "supported"))
    config = config_of(world, documents, claims)
    left, asked = [0], []

    def append(self, record, real=CallCache.append):
        if not left[0]:
            raise RuntimeError("killed")
        left[0] -= 1
        asked.append((self.path.name, record["id"]))
        real(self, record)

    monkeypatch.setattr(CallCache, "append", append)
    for allowed in (10, 3, 30):
        left[0] = allowed
        with pytest.raises(RuntimeError, match="killed"):
            run_evaluation(config, tmp_path / "run")
    left[0] = 1000
    summary = run_evaluation(config, tmp_path / "run")
    assert len(asked) == len(set(asked)) == 4 * 4 + 60
    assert summary["measures"]["factual"]["languages"]["en"]["claims"] == 2
    changed = replace(config, factual=replace(config.factual, passages=1))
    assert run_evaluation(changed, tmp_path / "run")["measures"]["factual"]["shown"] == 1


def test_claims_of_one_answer_are_no_independent_evidence():
    def interval(answers: int, claims: int):
        split = [
            {"id": f"{n}", "lang": "en", "claims": ["x"] * claims, "unscored": None}
            for n in range(answers)
        ]
        checks = [
            {
                "id": f"{n}/claim-{number + 1}",
                "label": "supported" if n % 2 else "contradicted",
                "claim": "x",
                "documents": [],
                "reason": "",
                "unscored": None,
            }
            for n in range(answers)
            for number in range(claims)
        ]
        scores = [{"id": f"{n}", "score": None} for n in range(answers)]
        part = summarise(split, checks, scores, seed=0, confidence=0.95)
        share = part["languages"]["en"]["classes"]["supported"]
        assert part["strong_answers"]["en"]["n"] == 0
        return share["high"] - share["low"]

    assert interval(20, 5) >= interval(20, 1) > 1.8 * interval(100, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "config.factual.documents: .*no folder of documents"),
        (lambda folder: folder.mkdir(), "no text in any .txt or .md file"),
        (
            lambda folder: (folder.mkdir(), (folder / "a.txt").write_bytes(b"\xff\xfe\xfa")),
            "a.txt: not UTF-8",
        ),
    ],
)
def test_bad_documents_are_an_error_before_anything_is_asked(world, tmp_path, make, message):
    make(tmp_path / "none")
    config = config_of(world, tmp_path / "none", {})
    with pytest.raises(UserError, match=message):
        run_evaluation(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_a_judge_there_is_nothing_to_measure(world, documents, tmp_path):
    config = replace(config_of(world, documents, {}), judge="", judge_family="")
    with pytest.raises(UserError, match=r"config\.measures: factual needs a judge"):
        run_evaluation(config, tmp_path / "run")
