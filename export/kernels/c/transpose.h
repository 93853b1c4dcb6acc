/* Transposition of bytes: ONNX stores a weight matrix by inputs, the kernels read it by outputs. */
#ifndef TINYEDGE_TRANSPOSE_H
#define TINYEDGE_TRANSPOSE_H

#include <stddef.h>
#include <stdint.h>

/* to[column][row] = from[row][column]; strides in bytes. */
void transpose(const int8_t *from, size_t from_stride, size_t rows, size_t columns, int8_t *to, size_t to_stride);

#endif
