"""The Llama family: Llama 3.x, SmolLM2, Mistral, Qwen2 and Qwen3, chosen by the config's fields.

config.json -> config (with rope) -> build.abstract -> a static graph, and shapes of parameters
                                                          |
rows of tokens -> llama: embed (mixed) -> layers x N -> logits
                           |               |-- attention: reference, blockwise, cuDNN, splash
                           |               |-- lora, quantised: adapters, frozen 4- or 8-bit base
                           |               '-- mixed: float32 gradients of bfloat16 activations
flops                    what the matmuls of all that cost
"""
