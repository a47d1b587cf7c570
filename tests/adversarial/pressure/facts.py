"""Facts that are made up for tests: topics, relations and answers by number."""

from vcjax.evaluation.facts.fact import Fact


def numbered_fact(number: int, *, topics: int = 10, domain: str | None = None) -> Fact:
    """Fact `number`, of topic `number % topics`; every other topic is of a sensitive domain."""
    topic = number % topics
    texts = {
        "en": {
            "questions": [
                f"What is kept in room {number}?",
                f"Which thing does room {number} have?",
                f"Room {number} is where one finds what?",
            ],
            "stem": f"In room {number} there is",
            "true": "a lamp",
            "false": "a desk",
        },
        "zh": {
            "questions": [f"{number}号房里放着什么？", f"什么东西在{number}号房？"],
            "stem": f"{number}号房里有",
            "true": "一盏灯",
            "false": "一张桌",
        },
    }
    return Fact.model_validate(
        {
            "id": f"kept_in-{number:03}",
            "relation": "kept_in",
            "topic": f"floor{topic}",
            "domain": domain or ("religion" if topic % 2 else None),
            "source": "the house's inventory",
            "texts": texts,
        }
    )


def numbered_facts(count: int) -> list[Fact]:
    """Facts from 0 on."""
    return [numbered_fact(number) for number in range(count)]
