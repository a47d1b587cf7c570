"""Facts with a true and a false answer: a question whose answer needs no judge.

    facts/*.jsonl (shipped), a user's files, or a published data set (importers.py)
          |  fact.load_facts        one schema, checked line by line
          v
    Fact: question in several wordings, true and false answer, topic, source; in each language
          |  knowledge.classify     which of two whole answers does a model prefer, by wording?
          v
    known | wrong | unsure          by other wordings than the one that is scored later

The measure under pressure, which needs attacks, is `vcjax.adversarial.pressure`.
"""
