/* Loops over memory, to be counted: what tinymembench's "NEON read" and "random read" do, for AArch64.
 *
 * guest/memory.py calls them. Sizes are in bytes; buffers contain zeros.
 */
#include <stddef.h>
#include <stdint.h>

/* Reads 64 bytes a step and adds them up; PREFETCH is an instruction, or nothing. */
#define NEON_READ(NAME, PREFETCH)                                                                          \
    void NAME(const void *buffer, size_t size) {                                                           \
        const void *end = (const char *)buffer + size;                                                     \
        __asm__ volatile("0:\n"                                                                            \
                         "ld1 {v0.4s, v1.4s}, [%0], #32\n"                                                 \
                         "add v4.4s, v4.4s, v3.4s\n"                                                       \
                         "add v5.4s, v5.4s, v0.4s\n"                                                       \
                         "ld1 {v2.4s, v3.4s}, [%0], #32\n"                                                 \
                         "add v6.4s, v6.4s, v1.4s\n" PREFETCH                                              \
                         "add v7.4s, v7.4s, v2.4s\n"                                                       \
                         "ld1 {v0.4s, v1.4s}, [%0], #32\n"                                                 \
                         "add v4.4s, v4.4s, v3.4s\n"                                                       \
                         "add v5.4s, v5.4s, v0.4s\n"                                                       \
                         "ld1 {v2.4s, v3.4s}, [%0], #32\n"                                                 \
                         "add v6.4s, v6.4s, v1.4s\n" PREFETCH                                              \
                         "add v7.4s, v7.4s, v2.4s\n"                                                       \
                         "cmp %0, %1\n"                                                                    \
                         "b.lo 0b\n"                                                                       \
                         : "+r"(buffer)                                                                    \
                         : "r"(end)                                                                        \
                         : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "cc", "memory");                \
    }

NEON_READ(neon_read, "")
NEON_READ(neon_read_prefetched, "prfm pldl1keep, [%0, #512]\n")

static uint32_t next(uint32_t seed) { return seed * 1103515245u + 12345u; }

/* Reads `count` bytes, one after the other, at random places of the first 2 to the power of `bits` bytes.
 *
 * A place is made of three random numbers, of which the low bits are poor; it depends on the byte before, so that
 * no two reads overlap. Returns a number that depends on all of them.
 */
uint32_t random_read(const unsigned char *buffer, size_t count, unsigned bits) {
    uint32_t seed = 0, mask = (uint32_t)(1ull << bits) - 1;
#pragma clang loop unroll_count(16)
    for (size_t i = 0; i < count; i++) {
        seed = next(seed);
        uint32_t place = (seed >> 16) & 0xff;
        seed = next(seed);
        place |= (seed >> 8) & 0xff00;
        seed = next(seed);
        place |= seed & 0x7fff0000;
        seed |= buffer[place & mask];
    }
    return seed;
}
