"""Two processes of four devices each compute one device's reference, DPO loss and gradient."""

import numpy as np

from tests.compilation import with_devices
from tests.distributed.dpo_once import dpo_once
from tests.processes import run_two
from tests.tiny import tiny_tokenizer
from vcjax.core.defaults import training_config
from vcjax.core.files import write_json, write_jsonl
from vcjax.data.importers import read_records
from vcjax.data.preparation import prepare


def test_pairs_on_a_mesh_of_two_processes_are_those_of_one_device(tmp_path, tiny_folder):
    records = [
        {"prompt": "为什么" * (n % 3 + 1), "chosen": "因为" * n + "。", "rejected": "No" + "!" * n}
        for n in range(11)
    ]
    write_jsonl(tmp_path / "pairs.jsonl", records)
    loaded = read_records(tmp_path / "pairs.jsonl", "preferences").records
    prepare(tmp_path / "pairs", loaded, "preferences", tiny_tokenizer(), 64)
    config = training_config("adversarial").to_dict() | {
        "objective": "dpo",
        "model": str(tiny_folder),
        "preferences": str(tmp_path / "pairs"),
        "microbatches": 2,
        "length": 64,
    }
    config["lora"]["rank"] = 0
    write_json(tmp_path / "config.json", config)
    alone = dpo_once(tmp_path, "alone", {"fsdp": -1})

    run_two("tests.distributed.dpo_once", [str(tmp_path), "together"], with_devices(4))

    together = np.load(tmp_path / "together.npz")
    assert set(together) == set(alone)
    assert int(together["count"]) == config["batch_size"]
    assert alone["reference"].shape == (len(records), 2)
    np.testing.assert_allclose(together["reference"], alone["reference"], rtol=1e-5)
    np.testing.assert_allclose(together["loss"], alone["loss"], rtol=1e-5)
    for name, leaf in alone.items():
        np.testing.assert_allclose(together[name], leaf, rtol=1e-4, atol=1e-5, err_msg=name)
    kept = [np.load(tmp_path / folder / "pairs.npz") for folder in ("alone", "together")]
    np.testing.assert_array_equal(kept[0]["log_probs"], alone["reference"])
    np.testing.assert_array_equal(kept[1]["log_probs"], together["reference"])
