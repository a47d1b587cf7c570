"""The model card of an exported model. It always says which charter the model was given."""

from vcjax.weights.bundle import Bundle
from vcjax.weights.stored import StoredModel


def model_card(
    model: Bundle | StoredModel,
    *,
    title: str | None = None,
    charter: str | None = None,
    notes: tuple[str, ...] = (),
    front: tuple[str, ...] = ("library_name: transformers",),
    made: str = "converted",
) -> str:
    """Markdown with the front matter that model hubs read.

    Args:
      title: None is the name of the source.
      charter: name, version and hash of the charter the model was aligned to; None for none.
      notes: sentences about how it was made and what was measured.
      front: lines of the front matter.
      made: what was done to it, where it wasn't aligned.
    """
    aligned = (
        f"This model was aligned to the charter **{charter}**."
        if charter
        else f"This model was not aligned to a charter by vcjax; it was only {made}."
    )
    config = model.config
    lines = [
        "---",
        *front,
        "tags: [vcjax]",
        "---",
        "",
        f"# {title or model.origin.reference}",
        "",
        aligned,
        "",
        *[f"- {note}" for note in notes],
        f"- Source: `{model.origin.reference}` (content hash `{model.origin.hash[:16]}`).",
        f"- Architecture: {config.architecture}, {config.num_layers} layers, hidden size "
        f"{config.hidden_size}, {config.num_heads} heads ({config.num_kv_heads} for keys and "
        f"values), {config.vocab_size} tokens, context {config.max_position}.",
        "",
        "The floor rules bind every charter: no dehumanising or hateful content, no incitement, "
        "no invented or denied facts; where a charter and the record conflict, accuracy wins. "
        "A charter is a direction given in training, not a guarantee about an answer.",
        "",
        "`lineage.json` beside this file holds the chain of data, config and models behind it; "
        "`python -m launch.verify` rehashes it.",
        "",
    ]
    return "\n".join(lines)
