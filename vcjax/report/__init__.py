"""Floor 6: the report of a run, one HTML file that opens anywhere and loads nothing.

`write_demo_report` is of a whole run, `write_evaluation_report` of one evaluation.
"""

from vcjax.report.reports import write_demo_report, write_evaluation_report

__all__ = ["write_demo_report", "write_evaluation_report"]
