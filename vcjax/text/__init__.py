"""Text to token ids and back: tokenizers, chat rendering with the loss mask, languages and units.

    messages --- templates.ChatTemplate, marks ---> one string, the assistant's spans  (chat_text)
                                                            |
    model folder --- tokenizer.load_tokenizer ---> Tokenizer, its Encoder
                                                            |
                                                            v
                                           Rendered(ids, loss_mask)  (rendering)

`tool_calls` learns from a template how its model calls tools, and reads the calls in an answer.
`chat_settings` are the options after a model reference that change how its chats are rendered.
`language` decides what language a text is in, `units` cuts it into words and sentences; charters,
records and critics use them. `refusals` and `answers` decide whether a text declines to answer,
lectures or is cut off. They need no tokenizer, so this file imports nothing.
"""
