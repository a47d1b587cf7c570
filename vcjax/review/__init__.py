"""Scores by people: a local page that shows one blinded answer, or pair of answers, at a time.

    an evaluation's workdir (two, for pairs)
        |  units: what there is to score, without the names of models
        v
    session: what annotators do, recorded         app: the page (`page/`) and its JSON
        |    <--------------------------------->  sheet: the same as a CSV file, out and in
        +--> journal.jsonl   every action; a killed review continues from it
        +--> scores.jsonl    the current scores, as a judge's records (of pairs two files)
        +--> summary.json    agreement: how far annotators agree
             annotator: one annotator's order of the units and decisions
             run: one review as a run, with its server

An annotator is a judge of the family `human`. No HTTP is needed for a session, nor a session's
files for the page: the browser gets texts and codes, and sends codes and scores.
"""
