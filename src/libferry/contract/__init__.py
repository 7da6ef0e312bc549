"""What a library promises: its functions, read from C declarations.

``declare`` reads a header for one ABI and gives a ``Signature`` per function: the
declaration with every type resolved, and its call plan.
"""

from libferry.contract.declarations import Header, Parameter, Signature, declare, parse_type

__all__ = ["Header", "Parameter", "Signature", "declare", "parse_type"]
