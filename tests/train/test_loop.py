"""A whole run: its output, how it continues, what it measures, what it refuses."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests.train.runs import LORA, equal, losses
from vcjax.core.errors import GateNotMet, UserError
from vcjax.core.files import read_json
from vcjax.core.lineage import verify
from vcjax.data.importers import read_records
from vcjax.data.preparation import prepare
from vcjax.model.lora import LoraConfig, join_params, merge_lora, split_adapters
from vcjax.train.logging import VALIDATION, read_lines, read_metrics
from vcjax.train.loop import train
from vcjax.weights.load import load_model
from vcjax.weights.steps import saved_steps


def test_a_run_learns_and_says_what_it_was(full):
    lines, summary = read_metrics(full), read_json(full / "summary.json")
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert summary["steps"] == 6
    assert summary["stage"] == "cpt"
    assert (summary["first_loss"], summary["last_loss"]) == (lines[0]["loss"], lines[-1]["loss"])
    assert summary["tokens"] == sum(line["tokens"] for line in lines) > summary["loss_tokens"] > 0
    assert set(lines[0]) == {
        "step",
        "loss",
        "loss_tokens",
        "tokens",
        "grad_norm",
        "learning_rate",
        "skipped",
        "seconds",
        "tokens_per_second",
        "flops_per_second",
        "data_wait",
        "peak_share",
    }
    assert list((full / "tensorboard").glob("events.out.tfevents*"))
    assert sorted(path.name for path in (full / "checkpoints").iterdir()) == ["4", "6"]


def test_the_lineage_holds_and_names_every_parent(adapted):
    lineage = read_json(adapted / "lineage.json")
    roles = [parent["role"] for parent in lineage["parents"]]
    assert roles == ["model", "charter", "conversations"]
    assert all(not Path(parent["path"]).is_absolute() for parent in lineage["parents"])
    assert {finding.status for finding in verify(adapted)} == {"ok"}


def test_a_finished_run_says_so(full, make_config, capsys):
    before = (full / "lineage.json").read_bytes()
    assert train(make_config(steps=6), full) == read_json(full / "summary.json")
    assert "already finished" in capsys.readouterr().out
    assert (full / "lineage.json").read_bytes() == before


def test_a_workdir_of_another_config_is_refused(full, make_config):
    with pytest.raises(UserError, match="seed: 3 -> 4"):
        train(make_config(steps=6, seed=4), full)
    with pytest.raises(UserError, match="steps: 6 -> 5"):
        train(make_config(steps=5), full)


def test_a_finished_run_is_extended_by_more_steps(tmp_path, make_config):
    train(make_config(steps=2), tmp_path / "run")
    first = losses(tmp_path / "run")
    summary = train(make_config(steps=3), tmp_path / "run")
    assert summary["steps"] == 3
    assert losses(tmp_path / "run")[:2] == first
    assert {finding.status for finding in verify(tmp_path / "run")} == {"ok"}


def test_a_run_killed_after_its_last_step_is_finished_without_another(full, tmp_path, make_config):
    shutil.copytree(full, tmp_path / "run")
    (tmp_path / "run" / "lineage.json").unlink()
    summary = train(make_config(steps=6), tmp_path / "run")
    assert summary == read_json(full / "summary.json")
    assert {finding.status for finding in verify(tmp_path / "run")} == {"ok"}


def test_a_full_run_loads_as_a_model(full, model_folder, model_config):
    loaded, base = load_model(str(full)), load_model(str(model_folder))
    assert loaded.config == model_config
    assert (loaded.dtype, loaded.stored_dtype) == ("float32", "float32")
    assert loaded.require_tokenizer().decode([70, 71]) == base.tokenizer.decode([70, 71])
    assert loaded.origin.hash == read_json(full / "lineage.json")["hash"]
    assert np.any(loaded.params["embedding"] != base.params["embedding"])
    low = load_model(str(full), "bfloat16")
    assert low.params["embedding"].dtype.name == low.dtype == "bfloat16"


def test_adapters_load_merged_into_their_base(adapted, model_folder):
    merged, base = load_model(str(adapted)).params, load_model(str(model_folder)).params
    np.testing.assert_array_equal(merged["embedding"], base["embedding"])
    for name in ("q", "k", "v", "o", "gate", "up", "down"):
        kernels = merged["layers"][name]["kernel"], base["layers"][name]["kernel"]
        assert np.any(kernels[0] != kernels[1]), name
    # The same by hand.
    with ocp.StandardCheckpointer() as checkpointer:
        trained = checkpointer.restore(adapted.resolve() / "checkpoints" / "6" / "params")
    assert split_adapters(trained)[1] == {}
    equal(merge_lora(join_params(trained, base), LoraConfig(**LORA)), merged)


def test_a_chat_run_gives_the_model_its_template_and_its_end_of_turn(adapted, tokenizer):
    loaded = load_model(str(adapted))
    assert "<|im_start|>" in loaded.require_tokenizer().chat_template
    assert loaded.eos_ids == (0, tokenizer.special_tokens["<|im_end|>"])


def test_a_run_goes_on_from_another_runs_model(adapted, tmp_path, make_config):
    lora = LORA | {"targets": "q"}
    train(make_config(model=str(adapted), steps=1, lora=lora), tmp_path / "next")
    assert {finding.status for finding in verify(tmp_path / "next")} == {"ok"}
    merged, base = (load_model(str(path)).params for path in (tmp_path / "next", adapted))
    equal(merged["layers"]["v"], base["layers"]["v"])
    assert np.any(merged["layers"]["q"]["kernel"] != base["layers"]["q"]["kernel"])


def test_a_tree_of_runs_can_be_moved_and_a_changed_base_is_refused(
    adapted, model_folder, tmp_path, make_config
):
    shutil.copytree(model_folder, tmp_path / "old" / "base")
    config = make_config(model=str(tmp_path / "old" / "base"), steps=1, lora=LORA)
    train(config, tmp_path / "old" / "run")
    before = load_model(str(tmp_path / "old" / "run")).params
    (tmp_path / "old").rename(tmp_path / "new")
    equal(load_model(str(tmp_path / "new" / "run")).params, before)
    generation = tmp_path / "new" / "base" / "generation_config.json"
    generation.write_text(json.dumps({"temperature": 2}))
    with pytest.raises(UserError, match="changed since"):
        load_model(str(tmp_path / "new" / "run"))


def test_a_run_does_not_go_on_from_a_model_that_has_changed(tmp_path, model_folder, make_config):
    shutil.copytree(model_folder, tmp_path / "base")
    config = {"model": str(tmp_path / "base"), "lora": LORA}
    train(make_config(steps=1, **config), tmp_path / "run")
    (tmp_path / "base" / "generation_config.json").write_text(json.dumps({"temperature": 2}))
    with pytest.raises(UserError, match="changed since the run in"):
        train(make_config(steps=2, **config), tmp_path / "run")


def test_a_workdir_without_a_checkpoint_is_no_model(full, tmp_path):
    shutil.copytree(full, tmp_path / "run", ignore=shutil.ignore_patterns("4", "6"))
    with pytest.raises(UserError, match="no checkpoint yet"):
        load_model(str(tmp_path / "run"))


def test_prepared_folders_and_replay_are_drawn_from(
    tmp_path, make_config, tokenizer, documents, conversations
):
    for name, path, kind in (
        ("docs", documents, "documents"),
        ("chats", conversations, "conversations"),
    ):
        prepare(tmp_path / name, read_records(path, kind).records, kind, tokenizer, 48)
    both = {"documents": f"{tmp_path / 'docs'},{documents}", "replay": str(tmp_path / "chats")}
    train(make_config(steps=1, **both), tmp_path / "run")
    assert [path.name for path in (tmp_path / "run" / "data").iterdir()] == ["documents"]
    roles = [one["role"] for one in read_json(tmp_path / "run" / "lineage.json")["parents"]]
    assert roles == ["model", "documents", "documents", "replay"]

    def refused(match, **changes):
        with pytest.raises(UserError, match=match):
            train(make_config(**changes), tmp_path / "refused")
        assert not (tmp_path / "refused").exists()

    refused("rows of 48 tokens, config.length is 32", length=32, documents=str(tmp_path / "docs"))
    refused("has conversations, not documents", documents=str(tmp_path / "chats"))
    prepare(
        tmp_path / "other",
        read_records(documents, "documents").records,
        "documents",
        tokenizer.with_template("{{ messages }}"),
        48,
    )
    refused("another tokenizer or chat template", documents=str(tmp_path / "other"))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"model": "no/where/at/all"}, "no such folder"),
        ({"documents": "nowhere.jsonl"}, "nowhere.jsonl: no such file"),
        ({"length": 65}, "config.length: 65 is beyond the 64 positions"),
        ({"charter": "univresal"}, "did you mean 'universal'"),
        ({"mesh": {"data": 3, "fsdp": 1, "tensor": 1}}, "doesn't fit 1 device"),
    ],
)
def test_a_bad_input_is_refused_before_anything_is_written(tmp_path, make_config, changes, match):
    with pytest.raises(UserError, match=match):
        train(make_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_without_a_tokenizer_is_refused(tmp_path, model_folder, make_config):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((model_folder / name).read_bytes())
    with pytest.raises(UserError, match="has no tokenizer"):
        train(make_config(model=str(tmp_path)), tmp_path / "run")


def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_step(tmp_path, make_config):
    config = make_config(learning_rate=1e30, warmup_steps=0, checkpoint_every=1, max_skipped=0)
    with pytest.raises(GateNotMet, match=r"step 2: loss .* gradient norm nan; 1 update"):
        train(config, tmp_path / "run")
    assert [line["skipped"] for line in read_metrics(tmp_path / "run")] == [0, 1]


def test_quarantined_records_are_kept_beside_the_rows(tmp_path, make_config, documents):
    bad = tmp_path / "bad.jsonl"
    bad.write_text(documents.read_text() + '\n{"text": 3, "source": "test"}\n')
    with pytest.raises(UserError, match=r"bad\.jsonl:5"):
        train(make_config(documents=str(bad)), tmp_path / "run")
    config = make_config(documents=str(bad), steps=1, on_bad_record="quarantine")
    train(config, tmp_path / "run")
    kept = (tmp_path / "run" / "data" / "documents" / "quarantined.jsonl").read_text()
    assert json.loads(kept)["line"] == 5


def test_what_the_charter_holds_out_is_never_trained_on(tmp_path, make_config):
    records = [
        {"text": f"about {domain}", "domain": domain} for domain in ("religion", "migration")
    ]
    raw = tmp_path / "documents.jsonl"
    raw.write_text("\n".join(json.dumps({**each, "source": "test"}) for each in records))
    config = make_config(documents=str(raw), charter="universal", steps=1)
    train(config, tmp_path / "run")
    prepared = tmp_path / "run" / "data" / "documents"
    assert json.loads((prepared / "summary.json").read_text())["held_out"] == 1

    free = make_config(documents=str(raw), steps=1)
    train(free, tmp_path / "free")  # no charter, so nothing is held out
    ready = make_config(
        documents=str(tmp_path / "free" / "data" / "documents"), charter="universal", steps=1
    )
    with pytest.raises(UserError, match="'migration', a domain that charter 'universal' holds out"):
        train(ready, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_attention_that_does_not_run_here_is_refused_before_anything_is_written(
    tmp_path, make_config
):
    with pytest.raises(UserError, match=r"config\.attention: 'splash' needs a TPU"):
        train(make_config(attention="splash"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


OTHER_TEXTS = ["A bridge is built from both of its sides.", "雨停了以后，街上又有了人。"]


def test_a_run_that_gets_worse_stops_early_and_keeps_its_best(tmp_path, make_config, capsys):
    held_out = tmp_path / "held_out.jsonl"
    held_out.write_text("".join(json.dumps({"text": text}) + "\n" for text in OTHER_TEXTS))
    measured = {"data": str(held_out), "every": 1, "patience": 2}
    # The rate is far too high from the second step on.
    settings = {"learning_rate": 30.0, "warmup_steps": 6, "keep": 1, "keep_best": 1}
    config = make_config(steps=6, checkpoint_every=1, validation=measured, **settings)
    summary = train(config, tmp_path / "run")
    lines = read_lines(tmp_path / "run" / VALIDATION)
    best = min(lines, key=lambda line: math.inf if line["loss"] is None else line["loss"])
    stopped = summary["stopped_early"]
    assert stopped == best["step"] + 2 < 6
    assert summary["steps"] == stopped == lines[-1]["step"]
    assert summary["validation"]["best_step"] == best["step"]
    kept = [step for step in (best["step"], stopped) if step]
    assert saved_steps(tmp_path / "run") == kept
    assert train(config, tmp_path / "run") == summary
    assert "already finished" in capsys.readouterr().out


def test_dpo_begins_at_even_odds_and_learns_to_prefer(preferring):
    lines = read_metrics(preferring)
    assert abs(lines[0]["loss"] - math.log(2)) < 1e-4  # policy and reference are the same yet
    assert lines[-1]["loss"] < lines[0]["loss"]
    assert lines[-1]["margin"] > 0
    assert read_json(preferring / "summary.json")["steps"] == 6
    assert "<|im_start|>" in load_model(str(preferring)).require_tokenizer().chat_template


def test_a_profile_is_a_trace_of_a_few_steps(tmp_path, make_config):
    train(make_config(steps=6), tmp_path / "run", profile=True)
    assert list((tmp_path / "run" / "profile").rglob("*.xplane.pb"))
