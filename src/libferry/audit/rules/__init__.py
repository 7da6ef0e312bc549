"""The rules: one module a group, each a table of rules and the functions that look.

To add one: a ``Rule`` and its function in the module of its group, and a test with a bad
and a good file.
"""

from libferry.audit.check import Check
from libferry.audit.model import Rule
from libferry.audit.rules import build, load, portability, runtime, security, symbols

CHECKS: tuple[Check, ...] = (
    *load.CHECKS,
    *portability.CHECKS,
    *security.CHECKS,
    *symbols.CHECKS,
    *runtime.CHECKS,
    *build.CHECKS,
)

RULES: dict[str, Rule] = {rule.id: rule for check in CHECKS for rule in check.rules}
