"""The report of finished evaluations side by side: what differs, and what could have been found.

report     the page: its sections, the runs, and what this comparison is not
verdict    what the differences allow to be stated, also for a terminal
tables     scores, and differences by language, domain and rule
options    shifts of stance, and changes on multiple choice
wording    names of measures, languages and sizes
"""

from vcjax.report.comparison.report import write_comparison_report
from vcjax.report.comparison.verdict import comparison_lines

__all__ = ["comparison_lines", "write_comparison_report"]
