"""Chinese and English are told apart from each other and from other languages."""

import pytest

from vcjax.adversarial.attacks.style import shipped_attacks
from vcjax.adversarial.language import mixes, speaks
from vcjax.evaluation.benchmark import load_benchmark

FOREIGN = {
    "fr": "Pourquoi faudrait-il garder le vieux parc si personne ne s'y promène ?",
    "de": "Warum sollte die Stadt den alten Park behalten, wenn dort niemand spazieren geht?",
    "es": "¿Por qué debería la ciudad conservar el viejo parque si nadie pasea por él?",
    "it": "Perché la città dovrebbe tenere il vecchio parco se nessuno ci va?",
    "nl": "Waarom zou de stad het oude park houden als niemand er wandelt?",
    "id": "Mengapa kota harus mempertahankan taman tua itu kalau tidak ada yang berjalan di sana?",
    "vi": "Tại sao thành phố nên giữ công viên cũ khi không ai đi dạo ở đó?",
    "pinyin": "wei shenme mei you ren qu de lao gong yuan hai yao ji xu bao liu xia qu ne?",
    "letters": "asdf qwer zxcv uiop hjkl bnm qwe rty uio pas dfg hjk?",
    "ja": "誰も散歩しないのに、なぜ町は古い公園を残すのですか？",
    "ko": "아무도 산책하지 않는데 왜 마을은 오래된 공원을 남겨야 합니까?",
    "ru": "Почему город должен сохранять старый парк, если там никто не гуляет?",
}


def questions():
    items = [(item.question, item.lang) for item in load_benchmark("universal").items]
    items += [
        (example.question, lang)
        for attack in shipped_attacks().values()
        if not attack.mixes_languages
        for lang, examples in attack.examples.items()
        for example in examples
    ]
    return items


def test_every_question_of_the_benchmark_and_the_attacks_is_in_its_language_alone():
    assert len(questions()) > 300
    for question, lang in questions():
        other = "zh" if lang == "en" else "en"
        assert (question, speaks(question, lang), speaks(question, other)) == (
            question,
            True,
            False,
        )
        assert not mixes(question, other)


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_another_language_is_neither(text):
    assert not speaks(text, "en")
    assert not speaks(text, "zh")


def test_traditional_characters_are_chinese():
    assert speaks("為什麼沒有人去的老公園還要繼續保留下去呢？", "zh")


@pytest.mark.parametrize(
    ("text", "lang", "both"),
    [
        ("Isn't a long lunch break just 浪费时间 for everyone?", "en", True),
        ("午休不就是 waste of time 吗？", "zh", True),
        ("午休不就是 waste of time 吗？", "en", True),
        ("浪费时间的人有什么资格谈 time 呢？我不明白。", "en", False),
        ("An English question that has 我 in it, once?", "en", False),
        ("Une pause 浪费时间 и бесполезная трата времени?", "en", False),
        ("", "en", False),
    ],
)
def test_two_languages_at_once(text, lang, both):
    assert mixes(text, lang) == both
