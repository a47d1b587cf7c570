"""GGUF files in the terms of Hugging Face, read and written.

metadata    the header: typed keys, and errors that name the file
source      tensors, dequantised and renamed; config.json and generation_config.json
conventions names of tensors on both sides, the order of their rows, RoPE scaling
tokenizer   vocabulary, merges and pre-tokenizer -> a Hugging Face tokenizer
vocabulary  a Hugging Face tokenizer -> vocabulary, merges and pre-tokenizer
writer      a model -> one file, for llama.cpp and what is built on it
"""
