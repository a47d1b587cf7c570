"""The sources of a preference run's pairs, and what can't be in a batch with them."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vcjax.core.errors import UserError
from vcjax.data.importers import read_records
from vcjax.data.loader import Batches
from vcjax.data.preparation import prepare
from vcjax.train.data import check_sources, prepare_sources, print_rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer, conversations):
    """`pairs.jsonl`, and prepared `pairs` and `chats`."""
    folder = tmp_path_factory.mktemp("preferences")
    lines = [{"prompt": f"{n}?", "chosen": "Yes", "rejected": "No"} for n in range(6)]
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    for name, path, kind in (
        ("pairs", folder / "pairs.jsonl", "preferences"),
        ("chats", conversations, "conversations"),
    ):
        prepare(folder / name, read_records(path, kind).records, kind, tokenizer, 48)
    return folder


@pytest.fixture
def sources(make_config, tokenizer, tmp_path, folder):
    """The parts of a run that trains on pairs."""

    def of(**changes):
        data = {"documents": "", "preferences": str(folder / "pairs")}
        config = make_config(**{"stage": "adversarial", "objective": "dpo", **data, **changes})
        found = check_sources(config, tokenizer, tmp_path)
        return prepare_sources(found, config, tokenizer, tmp_path)

    return of


@pytest.mark.parametrize("form", ["pairs", "pairs.jsonl"])
def test_pairs_and_their_replay_come_prepared_or_raw(sources, folder, form):
    parts = sources(preferences=str(folder / form), replay=str(folder / form))
    assert [(len(part), weight) for part, weight in parts] == [(6, 1.0), (6, 0.5)]
    assert Batches(parts, 4, seed=0).batch(0)["tokens"].shape == (4, 2, 48)


def test_replay_is_of_pairs_where_the_run_is_and_never_elsewhere(sources, folder):
    with pytest.raises(UserError, match=r"config\.replay: .*chats has conversations, not pref"):
        sources(replay=str(folder / "chats"))
    chats = {"objective": "next_token", "preferences": "", "conversations": str(folder / "chats")}
    with pytest.raises(UserError, match=r"config\.replay: .*pairs has preferences, not conv"):
        sources(**chats, replay=str(folder / "pairs"))
    with pytest.raises(UserError, match=r"config\.preferences: .*chats has conversations, not"):
        sources(preferences=str(folder / "chats"))


def test_rows_are_printed_with_what_is_trained_on_in_green(sources, folder, tokenizer, capsys):
    parts = sources()
    capsys.readouterr()
    print_rows(parts, tokenizer, 1)
    legend, *lines = capsys.readouterr().out.split("\n")
    assert legend.startswith("\x1b[32mtrained on\x1b[0m")
    printed = "\n".join(lines)
    row = parts[0][0][0]
    for tokens, mask in zip(row["tokens"], row["loss_mask"], strict=True):
        answer = tokenizer.decode([int(id) for id in tokens[mask]])
        assert f"\x1b[32m{answer}" in printed


def test_steps_of_a_corpus_are_switched_on_for_raw_files(make_config, tokenizer, tmp_path, capsys):
    raw = tmp_path / "raw.jsonl"
    texts = ("Write to wei.zhang@corpus-mail.cn.", "Two ovens stood in the town.")
    raw.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    prepare = {"steps": "personal,duplicates"}
    config = make_config(documents=str(raw), prepare=prepare)
    found = check_sources(config, tokenizer, tmp_path / "run")
    parts = prepare_sources(found, config, tokenizer, tmp_path / "run")
    (rows, _) = parts[0]
    assert rows.summary["steps"]["personal"]["did"]["email masked"] == 1
    said = "".join(tokenizer.decode(row["tokens"].tolist()) for row in rows)
    assert "Write to [email]." in said
    table = [line.split() for line in capsys.readouterr().err.splitlines()]
    assert ["personal", "2", "0"] in table


def test_raw_files_that_are_too_large_are_for_launch_prepare(make_config, tokenizer, tmp_path):
    raw = tmp_path / "raw.txt"
    raw.write_text("A line.\n" * 150_000)
    config = make_config(documents=str(raw), prepare={"most_mb": 1})
    with pytest.raises(UserError, match=r"most_mb=1\); run launch\.prepare --config") as found:
        check_sources(config, tokenizer, tmp_path / "run")
    assert "\n" not in str(found.value)


class Silent(BaseHTTPRequestHandler):
    """A server that doesn't say how large a file is: it closes the connection where it ends."""

    def do_GET(self) -> None:
        self.do_HEAD()
        self.wfile.write(b"A line.\n")

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing, to leave the test's output alone."""


def test_a_file_whose_size_is_unknown_is_named(make_config, tokenizer, tmp_path, capsys):
    with ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/raw.txt"
            config = make_config(documents=url, prepare={"most_mb": 1})
            sources = check_sources(config, tokenizer, tmp_path / "run")
            said = capsys.readouterr().err
            prepare_sources(sources, config, tokenizer, tmp_path / "run")
        finally:
            server.shutdown()
            thread.join()
    assert f"config.documents: {url}: its server doesn't say how large it is" in said
    assert "documents: 1 documents in 1 rows" in capsys.readouterr().err
