"""The Python function that `xquad_en.yaml` and `xquad_zh.yaml` name."""

from datasets import Dataset


def as_choices(articles):
    """A question to each paragraph; the choices are the answers to all of its questions."""
    rows = []
    for article in articles["data"]:
        for passage in article["paragraphs"]:
            questions = passage["qas"]
            choices = list(dict.fromkeys(each["answers"][0]["text"] for each in questions))
            if len(choices) < 3:
                continue
            asked = questions[len(rows) % len(questions)]
            right = choices.index(asked["answers"][0]["text"])
            row = {"context": passage["context"], "question": asked["question"]}
            rows.append({**row, "choices": choices, "right": right})
    return Dataset.from_list(rows)
