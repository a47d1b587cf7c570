"""Chinese and English are distinguished from each other and from other languages."""

import pytest

from vcjax.adversarial.attacks.style import shipped_attacks
from vcjax.evaluation.benchmark import load_benchmark
from vcjax.text.language import guess_language, is_in_both_languages, is_in_language

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
        assert (question, is_in_language(question, lang), is_in_language(question, other)) == (
            question,
            True,
            False,
        )
        assert not is_in_both_languages(question, other)


@pytest.mark.parametrize("text", FOREIGN.values(), ids=FOREIGN)
def test_another_language_is_neither(text):
    assert not is_in_language(text, "en")
    assert not is_in_language(text, "zh")


def test_traditional_characters_are_chinese():
    assert is_in_language("為什麼沒有人去的老公園還要繼續保留下去呢？", "zh")


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
    assert is_in_both_languages(text, lang) == both


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("All human beings are born free.", "en"),
        ("人人生而自由。", "zh"),
        ("请用 Python 的 random 模块写一个程序，生成五个不同的随机数。", "zh"),
        ("The word 自由 means freedom in most of its uses.", "en"),
        ("すべての人間は、生まれながらにして自由である。", "und"),
        ("Все люди рождаются свободными.", "und"),
        ("1234 !?", "und"),
    ],
)
def test_language_is_guessed_from_the_script(text, language):
    assert guess_language(text) == language
