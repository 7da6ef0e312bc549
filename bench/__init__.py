"""How fast libferry is, beside its peers and beside the limit; run `python -m bench`."""
