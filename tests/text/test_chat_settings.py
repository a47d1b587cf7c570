import pytest

from tests.chats import prompt
from vcjax.core.errors import UserError
from vcjax.roles.references import RoleSpec, family_of, without_options
from vcjax.text.chat_settings import ChatSettings, pinned, read_settings, split_options
from vcjax.weights.export import write_model
from vcjax.weights.load import load_model

ASKED = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def template(tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{% for m in messages %}{{ m.content + end }}{% endfor %}", encoding="utf-8")
    return path


def test_a_reference_without_options_is_what_it_is(tmp_path):
    assert split_options("org/name@main") == ("org/name@main", "")
    assert read_settings("org/name@main") == ChatSettings()
    sharp = tmp_path / "run#2"
    sharp.mkdir()
    assert split_options(str(sharp)) == (str(sharp), "")
    assert read_settings(str(sharp)) == ChatSettings()


def test_options_follow_a_reference(template):
    options = "#template_options=end:!#template_options=n:3#template_options=enable_thinking:False"
    options = f"#template={template}{options}#system=first_user"
    assert split_options(f"runs/sft{options}") == ("runs/sft", options)
    settings = read_settings(f"runs/sft{options}")
    assert settings.template == template.read_text(encoding="utf-8")
    assert settings.template_options == {"end": "!", "n": 3, "enable_thinking": False}
    assert settings.system == "first_user"


def test_settings_change_what_they_name_and_no_more(chatml, template):
    own = chatml.with_template("{{ messages[0].content + end }}")
    own = own.with_settings({"end": "."}, "first_user")
    assert ChatSettings().apply(own) is own
    settings = read_settings(f"x#template={template}")
    changed = settings.apply(own)
    assert (changed.template_options, changed.system) == ({"end": "."}, "first_user")
    assert chatml.decode(prompt(changed, ASKED * 2)) == "Hi.Hi."
    settings = read_settings("x#template_options=end:!")
    assert chatml.decode(prompt(settings.apply(own), ASKED)) == "Hi!"
    assert ChatSettings(system="template").apply(None) is None


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ("#templat=a", "'templat' is no option of a model; did you mean 'template'"),
        ("#system", "'system' is no option of a model"),
        ("#system=user", "system must be one of template, first_user, not 'user'"),
        ("#template_options=enable_thinking", "write NAME:VALUE"),
        ("#template=absent.jinja", "template absent.jinja: can't be read"),
        ("#template={folder}", "can't be read"),
        ("#template={empty}", "is empty"),
        ("#template={broken}", "broken.jinja: chat template: not a Jinja template"),
    ],
)
def test_a_bad_option_is_one_line_that_names_it(options, problem, tmp_path):
    for name, content in (("empty", ""), ("broken", "{% if %}")):
        (tmp_path / f"{name}.jinja").write_text(content)
    paths = {name: tmp_path / f"{name}.jinja" for name in ("empty", "broken")}
    with pytest.raises(UserError, match=problem) as raised:
        read_settings("runs/sft" + options.format(folder=tmp_path, **paths))
    assert "\n" not in str(raised.value)


def test_a_model_is_loaded_as_its_reference_says_and_saved_so(tiny_folder, template, tmp_path):
    options = f"#template={template}#template_options=end:!#system=first_user"
    loaded = load_model(f"{tiny_folder}{options}")
    assert loaded.origin.reference.endswith("#system=first_user")
    assert loaded.tokenizer.decode(prompt(loaded.tokenizer, ASKED)) == "Hi!"
    write_model(tmp_path / "out", loaded, form="hf")
    again = load_model(str(tmp_path / "out")).tokenizer
    assert again.decode(prompt(again, ASKED)) == "Hi!"
    assert again.system == "first_user"
    other = load_model(f"{tmp_path / 'out'}#template_options=end:?").tokenizer
    assert other.decode(prompt(other, ASKED)) == "Hi?"


def test_a_role_s_family_is_known_whatever_the_options():
    spec = RoleSpec("smollm2-135m-instruct#template_options=a:1")
    assert family_of(spec, "actor_family") == "smollm2"


def test_a_run_does_not_go_on_with_another_template(template):
    reference = f"runs/sft#template={template}#system=first_user"
    before = without_options(f"{reference},org/name,http://127.0.0.1:1/v1#m#tries=3")
    assert before.endswith("#system=first_user,org/name,http://127.0.0.1:1/v1#m")
    assert pinned("org/name#system=first_user") == "org/name#system=first_user"
    template.write_text("{{ messages }}", encoding="utf-8")
    assert pinned(reference) != before.partition(",")[0]
