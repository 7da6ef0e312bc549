"""Byte offsets in the frame; ``native/frame.h`` explains them and is the original."""

RESULT_INTEGER = 16
RESULT_X87 = 48
INTEGER = 80
INTEGER_CELL = 8
RESULT_VECTOR = 160
VECTOR = 224
VECTOR_CELL = 16
STACK = 352
STACK_I386 = 96
SIZE = 4096
