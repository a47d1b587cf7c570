"""Serves a local page on which people score the answers of an evaluation; or a sheet, out and in.

python -m launch.review --run=runs/evaluate --workdir=runs/review
python -m launch.review --run=runs/a --against=runs/b --workdir=runs/pairs --sample=40
python -m launch.review --run=runs/evaluate --workdir=runs/review --sheet_out=F.csv
python -m launch.review --run=runs/evaluate --workdir=runs/review --sheet_in=F.csv --annotator=Li

The page asks for a name, shows one answer (with --against: two) at a time without the model's name,
and takes scores by keyboard, in English and Chinese. Every score is on the disk before the next
question comes; the same command continues a review. It is served by Starlette and uvicorn, as
launch.serve is: no further package, no network, and one port, which goes through an SSH tunnel from
a cluster (ssh -L 8010:localhost:8010 NODE).

The workdir gets scores.jsonl (a judge's records, with the annotator as the judge; of pairs those of
--run, and scores_against.jsonl those of --against), summary.json (how far the annotators agree; the
page's /agreement shows it) and journal.jsonl (every action).
"""

from absl import flags

from vcjax.core.errors import UserError
from vcjax.core.script import run

RUN = flags.DEFINE_string("run", None, "The workdir of an evaluation.", required=True)
AGAINST = flags.DEFINE_string("against", "", "That of another one: show pairs of answers.")
WORKDIR = flags.DEFINE_string("workdir", None, "The review's workdir.", required=True)
ANNOTATOR = flags.DEFINE_string(
    "annotator", "", "Who scores; without it, the page asks everybody for a name."
)
SAMPLE = flags.DEFINE_integer("sample", 0, "Questions to draw; 0: all of them.", lower_bound=0)
SEED = flags.DEFINE_integer("seed", 0, "Of the sample and of every annotator's order.")
SHEET_OUT = flags.DEFINE_string("sheet_out", None, "Write a labelling sheet (CSV) and end.")
SHEET_IN = flags.DEFINE_string("sheet_in", None, "Read the sheet that --annotator has filled in.")
HOST = flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; others need --token_env.")
PORT = flags.DEFINE_integer("port", 8010, "Port to listen at; 0: any free one.", lower_bound=0)
TOKEN_ENV = flags.DEFINE_string(
    "token_env", None, "The environment variable with the token that opens the page: /?token=..."
)


def main() -> None:
    from vcjax.review.run import (
        Address,
        ReviewConfig,
        serve_review,
        sheet_in,
        sheet_out,
        token_from,
    )

    config = ReviewConfig(RUN.value, AGAINST.value, SAMPLE.value, SEED.value)
    if SHEET_OUT.value and SHEET_IN.value:
        raise UserError("--sheet_in: give it without --sheet_out")
    if SHEET_OUT.value:
        sheet_out(config, WORKDIR.value, SHEET_OUT.value, ANNOTATOR.value)
    elif SHEET_IN.value:
        if not ANNOTATOR.value:
            raise UserError("--annotator: name who has filled in the sheet")
        sheet_in(config, WORKDIR.value, SHEET_IN.value, ANNOTATOR.value)
    else:
        token = token_from(TOKEN_ENV.value) if TOKEN_ENV.value else ""
        address = Address(HOST.value, PORT.value, token)
        serve_review(config, WORKDIR.value, address, ANNOTATOR.value)


if __name__ == "__main__":
    run(main)
