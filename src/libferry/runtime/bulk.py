def map_rows(*a, **k): raise NotImplementedError
def batch(*a, **k): raise NotImplementedError
