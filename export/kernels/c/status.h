/* What a step of the kernels ends with. */
#ifndef TINYEDGE_STATUS_H
#define TINYEDGE_STATUS_H

typedef enum {
    KERNELS_OK = 0,
    KERNELS_NOT_FINITE, /* NaN or infinity where a number was needed */
    KERNELS_NO_MEMORY,
    KERNELS_UNCHECKED, /* a block of a table must be checked first */
    KERNELS_DAMAGED,   /* a table has wrong content */
} Status;

#endif
