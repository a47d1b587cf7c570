"""Data for a road over the domains of `tests.tiny.write_charter`, in both languages."""

import json
from pathlib import Path

_TEXTS = {"en": "Is the old {} number {} worth it?", "zh": "第{1}个老{0}值得保留吗？"}
CHECKED = '{"on_style": true, "on_topic": true}'
"""The reply in which a Critic finds a query of its style and on its topic."""

_TRAINED, _HELD_OUT = ("parks", "trains"), "music"


def seed_questions() -> list[dict]:
    """Of each domain that isn't held out, three questions a language."""
    return [
        {"id": f"{domain}{n}{lang}", "question": text, "lang": lang, "domain": domain}
        for domain in _TRAINED
        for n in range(3)
        for lang, text in _asked(domain, n).items()
    ]


def benchmark_items() -> list[dict]:
    """Of each domain, one item a language."""
    return [
        {
            "id": f"{domain}{lang}",
            "parallel_id": domain,
            "domain": domain,
            "lang": lang,
            "question": f"{text} {text}",
        }
        for domain in (*_TRAINED, _HELD_OUT)
        for lang, text in _asked(domain, 0).items()
    ]


def written(query: str) -> str:
    """The reply in which an Attacker writes a query."""
    return json.dumps({"query": query}, ensure_ascii=False)


def write_lines(path: Path, records: list[dict]) -> str:
    """Writes one JSON object a line; returns the path as a config has it."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return str(path)


def _asked(domain: str, number: int) -> dict[str, str]:
    return {lang: text.format(domain, number) for lang, text in _TEXTS.items()}
