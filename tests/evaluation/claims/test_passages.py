import pytest

from vcjax.core.errors import UserError
from vcjax.evaluation.claims.passages import Passage, Search, read_passages, split_document
from vcjax.evaluation.claims.planted import DOCUMENTS, planted_claims, search_recall
from vcjax.text.units import search_terms


def test_terms_are_words_and_pairs_of_chinese_characters():
    assert search_terms("The U.N. in 1948") == ["the", "u", "n", "in", "1948"]
    assert search_terms("《世界人权》1948年") == ["世界", "界人", "人权", "1948", "年"]
    assert search_terms("…!?") == []


def test_a_long_document_is_split_between_sentences_and_each_part_has_the_title():
    body = " ".join(f"Sentence number {number} is here." for number in range(200))
    parts = split_document(f"A title\n\n{body}")
    assert len(parts) > 2
    assert all(part.startswith("A title\nSentence") and part.endswith(".") for part in parts)
    assert " ".join(part.removeprefix("A title\n") for part in parts) == body
    chinese = "".join(f"这是第{number}句话。" for number in range(200))
    assert "".join(split_document(chinese)) == chinese
    assert max(map(len, split_document(chinese))) <= 500


def test_what_shares_no_term_with_a_query_is_not_found_and_ties_keep_their_order():
    search = Search([Passage("a", "red green"), Passage("b", "red green"), Passage("c", "blue")])
    assert [each.document for each in search.best("red", 5)] == ["a", "b"]
    assert search.best("yellow", 5) == search.best("?!", 5) == []


def test_the_document_that_decides_a_claim_is_found_without_a_judge():
    found = search_recall(planted_claims(), Search(read_passages(DOCUMENTS)), 1, 0.95)
    assert {lang: (each["k"], each["n"]) for lang, each in found.items()} == {
        "en": (20, 20),
        "zh": (20, 20),
    }


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    with pytest.raises(UserError, match="no folder of documents"):
        read_passages(tmp_path / "a.txt")
