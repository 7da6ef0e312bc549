/* Bulk calls: one function, a row of arguments at a time, from columns.
 *
 * A million calls cost one crossing. The host fills a frame once with what is the same
 * in every row; the loop runs next to the library, in the worker or in the extension,
 * and is the same code in both.
 */
#ifndef FERRY_MAP_H
#define FERRY_MAP_H

#include <stdbool.h>

#include "channel.h"

#define MAP_COLUMNS 64u /* arguments that differ from row to row */
#define MAP_FAST 6u     /* so many arguments are called without a frame */

/* How the bytes of a cell above an element are filled, or an element is converted. */
enum map_fill { MAP_ZEROS, MAP_SIGN, MAP_ONES, MAP_SIGN_OF_32, MAP_X87 };

enum map_form {
    MAP_FRAME,    /* any function: each row is written to the frame */
    MAP_INTEGERS, /* all arguments and the result are integers no wider than a register, */
    MAP_DOUBLES,  /* or double, */
    MAP_FLOATS,   /* or float; at most MAP_FAST of them, all of them columns, cdecl */
};

struct ferry_column {
    uint64_t data;  /* address of the first element, for the library's process */
    int64_t stride; /* bytes from one to the next; 0: all rows have the same */
    uint16_t cell;  /* where it goes in the frame, or comes from */
    uint8_t size;   /* of an element: 1, 2, 4 or 8; the result's 0: void */
    uint8_t width;  /* bytes of the frame that are written */
    uint32_t fill;
};

struct ferry_map {
    uint64_t function;
    uint64_t frame; /* MAP_FRAME: its address, with all that no column brings */
    uint32_t rows;
    uint32_t form;
    uint32_t columns;
    uint32_t unused;
    struct ferry_column result;
    struct ferry_column arguments[MAP_COLUMNS];
};

_Static_assert(sizeof(struct ferry_column) == 24, "");
_Static_assert(offsetof(struct ferry_map, result) == 32, "");

void ferry_map(const struct ferry_map *map);

#endif
