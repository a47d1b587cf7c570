"""A tiny random model with a chat tokenizer, for tests of everything above `vcjax.weights`."""

from pathlib import Path

import jax
import numpy as np
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from vcjax.charter.floor import FLOOR_LINE, FLOOR_RULES, FLOOR_VERDICT
from vcjax.core.lineage import Parent
from vcjax.model.build import initialise
from vcjax.model.config import LlamaConfig
from vcjax.model.rope import RopeConfig
from vcjax.text.tokenizer import Tokenizer
from vcjax.weights.model import LoadedModel

# Random weights would hardly ever choose one EOS among a thousand tokens, so there are many.
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *(f"<|end_{n}|>" for n in range(93))]
EOS_IDS = (0, *range(2, len(CONTROL)))
CONTEXT = 4096


def tiny_tokenizer() -> Tokenizer:
    """Byte-level BPE over both languages, without a chat template of its own: ChatML's fits."""
    corpus = [*FLOOR_LINE.values(), *FLOOR_VERDICT.values()]
    corpus += [text for rule in FLOOR_RULES for text in rule.text.values()]
    corpus.append('Grade the answer. Reply with JSON only: {"reason": "<one short sentence>"}')
    core = tokenizers.Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=768,
        special_tokens=CONTROL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(corpus * 4, trainer)
    core.post_processor = processors.ByteLevel(trim_offsets=True)
    return Tokenizer(PreTrainedTokenizerFast(tokenizer_object=core, eos_token=CONTROL[0]))


def tiny_model() -> LoadedModel:
    """Two layers of random weights, spread enough for one token to be clearly likelier."""
    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        architecture="LlamaForCausalLM",
        vocab_size=tokenizer.vocab_size + 5,  # padded, as real models' are
        hidden_size=32,
        intermediate_size=64,
        num_layers=2,
        num_heads=4,
        num_kv_heads=2,
        head_dim=8,
        max_position=CONTEXT,
        rms_norm_eps=1e-5,
        rope=RopeConfig(original_max_position=CONTEXT),
        eos_ids=(0,),
    )
    params = jax.tree.map(np.asarray, jax.jit(lambda: initialise(config, 7))())
    spread = {name: np.float32(10) * params[name] for name in ("embedding", "head")}
    return LoadedModel(
        config=config,
        params={**params, **spread},
        tokenizer=tokenizer,
        generation_config={"eos_token_id": list(EOS_IDS)},
        dtype="float32",
        stored_dtype="float32",
        origin=Parent("model", "tiny", ""),
    )


def write_charter(path: Path, *, accept_score: int = 0, checks: str = "") -> Path:
    """A short charter in both languages: two fields to attack and one held out."""
    fields = "".join(
        f"""
      - id: {name}
        name: {{en: {name}, zh: {zh}}}
        topics: {{en: [old {name}, new {name}], zh: [旧{zh}, 新{zh}]}}
        held_out: {held}"""
        for name, zh, held in (
            ("parks", "公园", "false"),
            ("trains", "火车", "false"),
            ("music", "音乐", "true"),
        )
    )
    path.write_text(
        f"""
name: small
version: '1'
description: {{en: Small., zh: 小。}}
persona: {{en: Be fair., zh: 公平。}}
rubric: {{en: Grade it., zh: 评分。}}
accept_score: {accept_score}
principles:
  - id: fair
    text: {{en: Both sides., zh: 两面。}}
    checks: [{checks}]
domains:
  - id: town
    name: {{en: Town, zh: 城镇}}
    subdomains:{fields}
""",
        encoding="utf-8",
    )
    return path
