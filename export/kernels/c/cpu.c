/* Which instruction sets this CPU has. */
#include "cpu.h"

#include <string.h>

#if defined(__aarch64__)
#include <sys/auxv.h>
#elif defined(__x86_64__)
#include <cpuid.h>
#endif

static int always(void) { return 1; }

#if defined(__aarch64__)
static int has_dotprod(void) {
    const unsigned long asimddp = 1UL << 20; /* HWCAP_ASIMDDP of the kernel's interface */
    return (getauxval(AT_HWCAP) & asimddp) != 0;
}
#elif defined(__x86_64__)
/* By hand: compilers' __builtin_cpu_supports do not all know AVX-VNNI. */
typedef struct {
    unsigned a, b, c, d;
} Registers;

static Registers cpuid(unsigned leaf, unsigned subleaf) {
    Registers r = {0, 0, 0, 0};
    __get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d); /* leaves zeros for a leaf that does not exist */
    return r;
}

/* Whether the operating system saves all the registers of the mask XCR0 names. */
static int system_saves(unsigned mask) {
    const unsigned osxsave = 1u << 27;
    if (!(cpuid(1, 0).c & osxsave)) return 0;
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & mask) == mask;
}

enum { XCR0_AVX = 0x06, XCR0_AVX512 = 0xe6 };

static int has_avx2(void) { return system_saves(XCR0_AVX) && cpuid(7, 0).b >> 5 & 1; }

static int has_avx_vnni(void) { return has_avx2() && cpuid(7, 1).a >> 4 & 1; }

static int has_avx512_vnni(void) {
    const unsigned f_bw_vl = 1u << 16 | 1u << 30 | 1u << 31, vnni = 1u << 11;
    Registers r = cpuid(7, 0);
    return has_avx2() && system_saves(XCR0_AVX512) && (r.b & f_bw_vl) == f_bw_vl && r.c & vnni;
}
#endif

static const struct {
    const Kernels *kernels;
    int (*exists)(void);
} sets[] = { /* the fastest first */
#if defined(__aarch64__)
    {&kernels_dotprod, has_dotprod},
    {&kernels_neon, always},
#elif defined(__x86_64__)
    {&kernels_avx512_vnni, has_avx512_vnni},
    {&kernels_avx_vnni, has_avx_vnni},
    {&kernels_avx2, has_avx2},
#endif
    {&kernels_plain, always},
};

const Kernels *kernels_best(void) {
    size_t i = 0;
    while (!sets[i].exists()) i++;
    return sets[i].kernels;
}

const Kernels *kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if (!strcmp(sets[i].kernels->name, name)) return sets[i].exists() ? sets[i].kernels : NULL;
    return NULL;
}

const char *kernels_name(const Kernels *kernels) { return kernels->name; }
