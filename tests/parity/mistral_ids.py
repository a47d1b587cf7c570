"""Ids of conversations by Mistral's own package; run in a separate environment.

    python mistral_ids.py < conversations.json > ids.json
    python mistral_ids.py --data     (prints the folder of its tokenizers)

A conversation that ends with a user turn is a request; one that ends with an answer is complete.
"""

import json
import sys
from importlib.resources import files

from mistral_common.protocol.instruct.request import ChatCompletionRequest
from mistral_common.protocol.instruct.validator import ValidationMode
from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

FILES = {
    "mistral_nemo": "tekken_240718.json",
    "mistral_v3": "mistral_instruct_tokenizer_240323.model.v3",
}


def main() -> None:
    data = files("mistral_common") / "data"
    if sys.argv[1:] == ["--data"]:
        print(data)
        return
    conversations = json.load(sys.stdin)
    ids = {}
    for family, name in FILES.items():
        # Conversations that end with an answer are for fine-tuning, which the mode says.
        asking, answering = (
            MistralTokenizer.from_file(str(data / name), mode=mode)
            for mode in (ValidationMode.test, ValidationMode.finetuning)
        )
        ids[family] = {}
        for title, messages in conversations.items():
            for count in range(1, len(messages) + 1):
                if messages[count - 1]["role"] == "system":
                    continue
                asked = messages[count - 1]["role"] == "user"
                request = ChatCompletionRequest(messages=messages[:count])
                encoded = (asking if asked else answering).encode_chat_completion(request)
                ids[family][f"{title}/{count}"] = encoded.tokens
    json.dump(ids, sys.stdout)


if __name__ == "__main__":
    main()
