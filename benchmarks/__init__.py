"""How fast vcjax is, beside its peers and the machine's limits, within one run."""
