/* Transposition of bytes, 16 rows and columns at a time; see transpose.h.
 *
 * Bound by shuffles: 64 of them for 256 bytes. */
#include "transpose.h"

#include <string.h>

enum { TILE = 16 };

/* Of GCC and Clang: zip1 and zip2 on ARM, punpck on x86. */
typedef int8_t ByteVector __attribute__((vector_size(TILE)));

/* Interleaving rows i and i + 8, for all i < 8, rotates the 8 bits of a byte's place (4 of its row, 4 of its column) by
 * one; four times exchanges rows and columns. */
static inline void transpose_tile(const int8_t *from, size_t from_stride, int8_t *to, size_t to_stride) {
    ByteVector rows[TILE], interleaved[TILE];
    for (size_t i = 0; i < TILE; i++) memcpy(&rows[i], from + i * from_stride, sizeof rows[i]);
    for (int round = 0; round < 4; round++) {
        for (size_t i = 0; i < TILE / 2; i++) {
            ByteVector a = rows[i], b = rows[i + TILE / 2];
            interleaved[2 * i] =
                __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
            interleaved[2 * i + 1] =
                __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        }
        memcpy(rows, interleaved, sizeof rows);
    }
    for (size_t i = 0; i < TILE; i++) memcpy(to + i * to_stride, &rows[i], sizeof rows[i]);
}

void transpose(const int8_t *from, size_t from_stride, size_t rows, size_t columns, int8_t *to, size_t to_stride) {
    for (size_t row = 0; row < rows; row += TILE) {
        for (size_t column = 0; column < columns; column += TILE) {
            if (rows - row >= TILE && columns - column >= TILE) {
                transpose_tile(from + row * from_stride + column, from_stride, to + column * to_stride + row,
                               to_stride);
                continue;
            }
            for (size_t r = row; r < rows && r < row + TILE; r++)
                for (size_t c = column; c < columns && c < column + TILE; c++)
                    to[c * to_stride + r] = from[r * from_stride + c];
        }
    }
}
