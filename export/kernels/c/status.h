/* What a step of the kernels ends with. */
#ifndef TINYEDGE_STATUS_H
#define TINYEDGE_STATUS_H

typedef enum {
    KERNELS_OK = 0,
    KERNELS_NOT_FINITE, /* NaN or infinity where a number was needed */
    KERNELS_NO_MEMORY,
} Status;

#endif
