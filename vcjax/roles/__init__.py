"""Who can be asked: a local model, an endpoint over HTTP or a recorded transcript.

    reference (model | endpoint | recorded:FILE)     references: RoleSpec, open_roles
        |
        v
    Role.ask([Ask, ...]) -> [Reply, ...]             role: the protocol, and a reply's alternatives
        |-- LocalRole        local: the engine on this machine, one model in several roles
        |-- EndpointRole     endpoint, endpoint_spec, responses: HTTP with retries and budgets
        |-- RecordedRole     recorded: a JSONL file
        |-- CachedRole       cache: known replies first, then another role
        |                    asking: several roles side by side, each asked more as replies come
        |                    background: the event loop that an endpoint is asked from
        v
    grading_messages -> Reply -> Grade -> Verdict    grading: the prompt; verdict: what is parsed

A local model and a recorded transcript are `ScoringRole`s as well. They report how likely given
answers to a conversation are, for whoever asks by `role.scoring(role, field)`:

    ScoringRole.log_likelihoods([LikelihoodAsk(key, messages, answers), ...], on_scored=None)
        -> [(log-probability of each answer, in nats), ...]

A recorded line is `{"key": K, "answers": [...], "logprobs": [...]}`, or with `messages` for `key`.

`cache.CallCache` keeps the records of finished asks on disk, so that nothing is asked twice.
"""
