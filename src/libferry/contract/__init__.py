"""What a library promises: its functions, types and constants, read from C declarations.

``declare`` reads declarations as people write them, and gives a ``Header`` for one ABI:
every type resolved, every record laid out, a call plan for every function.
"""

from libferry.contract.declarations import declare, parse_type
from libferry.contract.header import AddressConstant, ErrorRule, Header, Parameter, Signature
from libferry.contract.length import Length
from libferry.contract.preprocess import read_header
from libferry.contract.toml import Contract, read_contract

__all__ = [
    "AddressConstant",
    "Contract",
    "ErrorRule",
    "Header",
    "Length",
    "Parameter",
    "Signature",
    "declare",
    "parse_type",
    "read_contract",
    "read_header",
]
