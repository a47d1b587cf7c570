"""An OpenAI-compatible HTTP server over the engine.

HTTP request                                   server.serve: middleware; listening: port, signals
     |  endpoint.Endpoint: admission, body, time limit, disconnects
     v
protocol.ChatRequest | CompletionRequest       errors.api_error: every failure as OpenAI's JSON
     |  (messages)  chat.chat_job | completions.completion_job
     v
answers.Job: submissions and a format
     |  continuations.Continuations: event loop <-> the engine's thread (models.Models)
     v
one JSON object, or answers.EventStream        calls: tools in answers
                                               metrics.Metrics: counts for Prometheus
"""
