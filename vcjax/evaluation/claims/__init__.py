"""The claims of an answer, and what a folder of documents says about them.

passages.py   documents -> passages, and the search among them by BM25
checking.py   a judge splits an answer into claims, and checks each against the passages found
planted.py    shipped claims of which it is known what the shipped documents say

The measure is `vcjax.evaluation.measures.factual`.
"""
