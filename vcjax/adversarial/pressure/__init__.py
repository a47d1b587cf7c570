"""Facts under pressure: does a model give up what it knows, and does it still listen?

    facts + the base model's answers          style.py    wordings of pressure, in both directions
          |                                       |   written.py  or an Attacker's messages
          v                                       v
    split.py   known, wrong and unsure      probes.py   conversations with a true and a false answer
    facts; train, dev and test; topics            |
    and styles that are held out                  v
          |                                 (`score_probes`: log-likelihoods of both answers)
          v                                       |
    pairs.py   what each arm trains on            v
                                            rates.py    flips, contrarian answers, corrections taken

The arms are trained and compared by `vcjax.road.pressure`.
"""
