"""Byte offsets in the frame; ``native/frame.h`` explains them and is the original."""

INTEGER = 0
INTEGER_CELL = 8
VECTOR = 64
VECTOR_CELL = 16
RESULT_INTEGER = 256
RESULT_X87 = 304
RESULT_VECTOR = 320
STACK = 384
SIZE = 4096
