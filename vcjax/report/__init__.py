"""The report of a run: one HTML file that opens anywhere and loads nothing.

summaries -> sections -> page -> report.html

reports     of a whole run, of one evaluation          ablation    of arms by their data
stages      of arms by stage of training               pressure    of facts under pressure
comparison  of finished runs side by side              measures    a section for each measure
judging     how far judges can be trusted              rejudging   of a ledger scored again
changes     what paired differences allow to state     results     scores and checks
training    losses, and where the pairs come from      appendix    samples and lineage
formats     numbers and names as text                  plots       inline SVG
page        blocks, and their templates (`templates/`: blocks, prose, tables)
messages    sentences in the reader's language (`catalogues/`)

Every function takes summaries as their runs have written them, so that a report can be made again.
"""

from vcjax.report.reports import write_demo_report, write_evaluation_report

__all__ = ["write_demo_report", "write_evaluation_report"]
