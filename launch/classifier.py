"""Trains the classifier of domains that `selection` may use, and shows what it does on examples
that it wasn't trained on.

python -m launch.classifier --labelled=mine.jsonl --out=domains.safetensors

Each line of `labelled` has a `text` and its `domain`: a subdomain of the charter, or `none`.
"""

import json
from pathlib import Path

from absl import flags

from vcjax.core.errors import UserError
from vcjax.core.script import run

LABELLED = flags.DEFINE_list("labelled", None, "JSONL files of {text, domain}.", required=True)
OUT = flags.DEFINE_string("out", None, "The safetensors file to write.", required=True)
PENALTY = flags.DEFINE_float("penalty", 1.0, "Of the squared weights.", lower_bound=0)


def main() -> None:
    from vcjax.data.corpus.classifier import read_labelled, train_classifier

    if Path(OUT.value).is_dir():
        raise UserError(f"{OUT.value}: is a folder; name a file")
    classifier = train_classifier(read_labelled(LABELLED.value), PENALTY.value)
    classifier.save(OUT.value)
    print(json.dumps(classifier.measured, indent=2))


if __name__ == "__main__":
    run(main)
