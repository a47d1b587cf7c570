"""References to roles in a config, and how they are opened."""

import gc
import json
import weakref

import pytest

from tests.adversarial.attempts import ASK
from tests.hub_server import Repo, client_of, files_of, hub_server
from vcjax.adversarial.calls import Call, Caller
from vcjax.adversarial.ledger.ledger import Ledger
from vcjax.core.errors import UserError
from vcjax.core.files import write_json
from vcjax.generate.engine_config import EngineConfig
from vcjax.roles.cache import CachedRole
from vcjax.roles.local import LocalRole
from vcjax.roles.references import RoleSpec, family_of, models_of, open_roles
from vcjax.weights.workdir import write_sources


def lines(path, *records):
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    return path


def test_a_family_is_declared_or_known(tmp_path):
    assert family_of(RoleSpec("any/model", "llama3"), "actor_family") == "llama3"
    assert family_of(RoleSpec("smollm2-135m-instruct"), "actor_family") == "smollm2"
    model = "smollm2-135m-instruct"
    for name in ("cpt", "sft"):  # each was trained from the one before
        (tmp_path / name / "checkpoints").mkdir(parents=True)
        write_json(tmp_path / name / "config.json", {"model": model})
        model = str(tmp_path / name)
    assert family_of(RoleSpec(model), "actor_family") == "smollm2"


def test_an_unknown_family_is_asked_for_by_the_field_s_name(tmp_path, tiny_folder):
    (tmp_path / "checkpoints").mkdir()
    write_json(tmp_path / "config.json", {"model": str(tmp_path)})  # of itself: no end to follow
    for model in ("recorded:x.jsonl", str(tiny_folder), str(tmp_path)):
        with pytest.raises(UserError, match=r"config\.critic_family: declare the model family"):
            family_of(RoleSpec(model), "critic_family")


def test_one_model_in_two_roles_is_loaded_once(tiny_folder, tmp_path):
    path = lines(tmp_path / "transcript.jsonl", {"key": "a", "text": "One."})
    specs = {
        "attacker": RoleSpec(str(tiny_folder), "tiny"),
        "actor": RoleSpec(str(tiny_folder), "tiny"),
        "critic": RoleSpec(f"recorded:{path}", "person"),
    }
    roles, parents = open_roles(specs, EngineConfig(slots=2))
    assert roles["attacker"] is roles["actor"]
    assert {name: role.family for name, role in roles.items()} == {
        "attacker": "tiny",
        "actor": "tiny",
        "critic": "person",
    }
    assert [(parent.role, parent.reference) for parent in parents] == [
        ("attacker", str(tiny_folder)),
        ("critic", f"recorded:{path}"),
    ]
    assert all(parent.hash for parent in parents)


def test_a_model_is_freed_with_its_roles_whoever_asked_them(tiny_folder, tmp_path):
    specs = {"attacker": RoleSpec(str(tiny_folder), "tiny")}
    roles, _ = open_roles(specs, EngineConfig(slots=2, context=128))
    assert isinstance(roles["attacker"], LocalRole)
    engine = weakref.ref(roles["attacker"].text.engine)
    gc.disable()  # it would come by too late: another stage loads a model of its own
    try:
        call = Call("attacker", "x", "attacker", ASK)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            (reply,) = Caller(roles, ledger).ask([call])
        assert CachedRole(roles["attacker"], {}).ask([ASK])[0].text == reply.text
        assert engine() is not None
        roles.clear()
        assert engine() is None
    finally:
        gc.enable()


def test_each_role_keeps_the_commit_that_it_began_with(tiny_folder, tmp_path):
    repo = Repo()
    first = repo.commit(files_of(tiny_folder), "old")
    repo.commit(files_of(tiny_folder), "new")
    second = repo.commit({"generation_config.json": b'{"eos_token_id": 7}'}, "new")
    specs = {"actor": RoleSpec("org/tiny@old", "a"), "critic": RoleSpec("org/tiny@new", "b")}
    with hub_server() as hub, client_of(hub, tmp_path / "hub"):
        hub.repos["org/tiny"] = repo
        for _ in range(2):
            roles, _ = open_roles(specs, EngineConfig(slots=2), tmp_path)
            assert [role.model for role in roles.values()] == [
                f"org/tiny@{first}",
                f"org/tiny@{second}",
            ]
            write_sources(tmp_path, models_of(roles))
            for branch in ("old", "new"):
                repo.commit({"model.safetensors": b"not the weights"}, branch)
