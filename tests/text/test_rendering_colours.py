from tests.chats import sample
from vcjax.text.rendering import coloured, legend

TURNS = [{"role": "user", "content": "你好"}, {"role": "assistant", "content": "free 世界"}]


def test_trained_tokens_are_green_context_dim_and_special_tokens_reversed(chatml):
    shown = coloured(chatml, sample(chatml, TURNS))
    assert shown == (
        "\x1b[2m\x1b[7m<|im_start|>\x1b[0m\x1b[2muser\n你好\x1b[0m\x1b[2m\x1b[7m<|im_end|>\x1b[0m"
        "\x1b[2m\n\x1b[0m\x1b[2m\x1b[7m<|im_start|>\x1b[0m\x1b[2massistant\n\x1b[0m"
        "\x1b[32mfree 世界\x1b[0m\x1b[32m\x1b[7m<|im_end|>\x1b[0m\x1b[2m\n\x1b[0m"
    )


def test_text_cannot_speak_to_the_terminal(chatml):
    turns = [TURNS[0], {"role": "assistant", "content": "a\x1b[31mb"}]
    assert "a␛[31mb" in coloured(chatml, sample(chatml, turns))


def test_the_legend_shows_each_colour():
    assert legend() == (
        "\x1b[32mtrained on\x1b[0m  \x1b[2mcontext\x1b[0m  \x1b[2m\x1b[7mspecial token\x1b[0m"
    )
