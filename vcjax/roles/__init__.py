"""Who can be asked: a local model, an endpoint over HTTP or a recorded transcript.

    reference (model | endpoint | recorded:FILE)     references: RoleSpec, open_roles
        |
        v
    Role.ask([Ask, ...]) -> [Reply, ...]             role: the protocol, and a reply's alternatives
        |-- LocalRole        local: the engine on this machine, one model in several roles
        |-- EndpointRole     endpoint, endpoint_spec, responses: HTTP with retries and budgets
        |-- RecordedRole     recorded: a JSONL file
        |-- CachedRole       cache: known replies first, then another role
        v
    grading_messages -> Reply -> Grade -> Verdict    grading: the prompt; verdict: what is parsed

`cache.CallCache` keeps the records of finished asks on disk, so that nothing is asked twice.
"""
