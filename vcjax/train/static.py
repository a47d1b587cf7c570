"""`workdir/model`: the files beside the weights of the model that a run trains."""

from dataclasses import replace
from pathlib import Path

from vcjax.core.files import replaced_folder, write_json
from vcjax.text.templates import END_OF_TURN, default_template
from vcjax.weights.bundle import Bundle, write_companions
from vcjax.weights.stored import StoredModel
from vcjax.weights.workdir import MODEL


def write_static(workdir: Path, model: StoredModel | Bundle, *, chat: bool) -> None:
    """Writes config, tokenizer, chat template and generation defaults, as a whole.

    Args:
      chat: the run trains on conversations. A model without a chat template then gets the one
        that they are rendered in; and it ends its turns where its template ends them.
    """
    if (workdir / MODEL).is_dir():
        return
    tokenizer = model.require_tokenizer()
    if chat:
        template = tokenizer.chat_template or default_template(tokenizer)
        tokenizer = tokenizer.with_template(template)
        core = tokenizer.backend.backend_tokenizer
        found = (core.token_to_id(token) for token in END_OF_TURN if token in template)
        ends = [*model.eos_ids, *(end for end in found if end is not None)]
        generation = {**model.generation_config, "eos_token_id": list(dict.fromkeys(ends))}
        model = replace(model, tokenizer=tokenizer, generation_config=generation)
    with replaced_folder(workdir / MODEL) as folder:
        write_json(folder / "config.json", model.config.to_hf(model.stored_dtype))
        write_companions(folder, model)
