"""Items that are made up, in the layouts of two published data sets."""

import json
from pathlib import Path

ASKED = "Please answer just with the letter of the correct answer."


def parrot_item(number: int, *, subject: str = "anatomy", correct: str = "B") -> dict:
    """A multiple-choice question whose options are all of one length."""
    question = f"Which drawer holds spoon {number}?"
    answers = "\n".join(f"({letter})drawer {n}{number:03}" for n, letter in enumerate("ABCD"))
    return {
        "prompt": [
            {"type": "human", "content": f"{question}\n{answers}\n{ASKED}"},
            {"type": "ai", "content": "The answer is ("},
        ],
        "base": {
            "dataset": f"mmlu/{subject}",
            "subset": subject,
            "question": question,
            "correct_letter": correct,
            "answers": answers,
        },
        "metadata": {"prompt_template": "{question}\n{answers}\n" + ASKED},
    }


HALLUQA = [
    {
        "Question": "灯放在哪个房间？",
        "Best Answer1": "灯放在一楼朝南的大房间里，从来没有搬动过。",
        "Best Answer2": "灯放在三号房。",
        "Source": "房屋清单",
        "Wrong_Answer1": "灯放在九号房。",
        "Wrong_Answer2": "灯。",
        "Category": "Misleading-hard",
        "Class": "常识",
        "Question Pattern": "人为误导",
        "question_id": 7,
    },
    {
        "Question": "谁写了这封信？",
        "Best Answer1": "没有人知道是谁写了这封信，信上也没有署名。",
        "Source": "房屋清单",
        "Wrong_Answer1": "他。",
        "Category": "Knowledge",
        "Class": "历史",
        "question_id": 8,
    },
]


def write_parrot(path: Path, items: list[dict]) -> str:
    """The reference of a file of items."""
    path.write_text("".join(json.dumps(item) + "\n" for item in items), encoding="utf-8")
    return f"parrot:{path}"


def write_halluqa(path: Path, items: list[dict]) -> str:
    """The reference of a file of items."""
    path.write_text(json.dumps(items, ensure_ascii=False), encoding="utf-8")
    return f"halluqa:{path}"
