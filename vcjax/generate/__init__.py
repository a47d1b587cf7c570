"""The engine: token ids in, token ids out, by continuous batching; and a thin text layer on it.

    prompts (texts, conversations, ids)          SamplingParams
          |  text.TextEngine: chat template, constraint, detokenizer
          v
    requests.Request  -->  engine.Engine          service.Service: engines in their own threads
      scheduler.Scheduler    |  waiting -> running in a slot -> finished
      prefill.Prefill        |  prompts, in chunks of several together
      slots.SlotTable        |  what a step needs of each slot, uploaded as one array
      slot_state.SlotState   |  logits, token counts and one of two forms of the KV cache:
        cache.DecodeState    |    rows, and a pool of prefix blocks
        paged_state.PagedState    pages, of which page_table.PageTable gives each slot its own
      prefixes.PrefixTree    |  which prefixes are kept
      layout.ModelLayout     |  the parameters: unstacked, cast, quantised, sharded
      programs,              |  compiled prefill and decode, and
        paged_programs       |    both in one
      sampling.draw          |  logits -> tokens, of those that truncation leaves
                             v
    requests.Event for each token  -->  requests.Result  -->  text

Given texts are scored without the engine's cache by `scoring.score` and, as texts, by `likelihood`;
a prompt that is continued is scored by its own prefill, if its request asks for that.
`tool_grammar` is the constraint of an answer that calls tools.
`generator.Generator` is what an engine and a fleet have in common.
`engine_config.EngineConfig` has the settings that the engines of every run share, `room` works out
slots and context from the memory, `fleet.Fleet` is an engine on each device, and
`model_pool.ModelPool` keeps several models loaded under one bound of memory.
"""

WEIGHT_FORMS = ("", "int8")
"""How the kernels of the projections are stored: plain, or in 8 bits with a scale per output."""
