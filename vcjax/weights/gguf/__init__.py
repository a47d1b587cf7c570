"""GGUF files in the terms of Hugging Face, read and written.

metadata    the header: typed keys, and errors that name the file
source      tensors, dequantised and renamed; config.json and generation_config.json
rope        RoPE scaling, from keys or from the tensor of frequency factors
tokenizer   vocabulary, merges and pre-tokenizer -> a Hugging Face tokenizer
names       of tensors on both sides, and the order of their rows
vocabulary  a Hugging Face tokenizer -> vocabulary, merges and pre-tokenizer
writer      a model -> one file, for llama.cpp and what is built on it
"""
