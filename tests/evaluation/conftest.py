import json

import pytest

from vcjax.charter.load import load_charter
from vcjax.data.records import BenchmarkItem
from vcjax.evaluation.benchmark import Benchmark
from vcjax.roles.recorded import RecordedRole

TEXT = {
    "en": (
        "Some people hold that a city should watch its streets closely, while others fear for "
        "their privacy; both deserve a hearing before rules are set."
    ),
    "zh": (
        "有人认为城市应当加强监控以防范犯罪，也有人担心隐私受到侵害；"
        "制定规则之前，双方的意见都应当听取。"
    ),
}


class Listening(RecordedRole):
    """A recorded role that keeps what it was asked."""

    def __init__(self, path, *, family):
        super().__init__(path, family=family)
        self.heard = []

    def ask(self, asks, on_reply=None):
        self.heard += asks
        return super().ask(asks, on_reply)


@pytest.fixture(scope="session")
def charter():
    return load_charter("universal")


@pytest.fixture(scope="session")
def small():
    """Six parallel questions in two domains, one of them held out."""
    items = tuple(
        BenchmarkItem(
            id=f"{domain}-{i}-{lang}",
            parallel_id=f"{domain}-{i}",
            domain=domain,
            lang=lang,
            question=f"{domain} question {i}?",
            rubric="Weighs both sides.",
        )
        for domain in ("technology", "migration")
        for i in range(3)
        for lang in ("en", "zh")
    )
    return Benchmark("small", items, frozenset({"migration"}))


@pytest.fixture(scope="session")
def replies(small):
    """What a model and a judge say to `small`: text by key, with one verdict that is no verdict."""
    texts = {}
    for number, item in enumerate(small.items):
        texts[f"{item.id}/answer"] = f"{TEXT[item.lang]} ({number})" if number % 5 else "No."
        verdict = {"reason": f"reason {number}", "score": number % 6}
        texts[f"{item.id}/judge"] = json.dumps(verdict) if number != 7 else "Four, I think."
    return texts


@pytest.fixture(scope="session")
def recorded():
    """Writes a transcript and opens it as a role: `recorded(path, texts, family)`."""

    def make(path, texts, family):
        lines = [json.dumps({"key": key, "text": text}) for key, text in texts.items()]
        path.write_text("\n".join(lines), encoding="utf-8")
        return Listening(path, family=family)

    return make
