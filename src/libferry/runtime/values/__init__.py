def record_class(library, ctype): return None
def encode(library, ctype, value): raise NotImplementedError
def decode(library, ctype, data): raise NotImplementedError
def array_for(library, ctype, value): return NotImplemented
