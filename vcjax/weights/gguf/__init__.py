"""GGUF files in the terms of Hugging Face.

metadata    the header: typed keys, and errors that name the file
source      tensors, dequantised and renamed; config.json and generation_config.json
rope        RoPE scaling, from keys or from the tensor of frequency factors
tokenizer   vocabulary, merges and pre-tokenizer -> a Hugging Face tokenizer
"""
