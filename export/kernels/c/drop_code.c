/* Removal of executed code from this process's memory; tinyedge/host/drop_code.py says what for, and does the same
 * where these kernels are not installed. */
#define _GNU_SOURCE /* dl_iterate_phdr */

#include "drop_code.h"

#include <link.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

/* Drops the code of one file. Only what nothing can write: the kernel reads it from the file again. */
static int drop_file(struct dl_phdr_info *file, size_t size, void *unused) {
    (void)size, (void)unused;
    if (file->dlpi_addr == getauxval(AT_SYSINFO_EHDR)) return 0; /* the kernel's own, which is in no file */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < file->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &file->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || segment->p_flags != (PF_R | PF_X)) continue;
        uintptr_t begin = file->dlpi_addr + segment->p_vaddr, end = begin + segment->p_memsz;
        begin -= begin % page;
        madvise((void *)begin, end - begin, MADV_DONTNEED); /* a failure costs memory, nothing else */
    }
    return 0;
}

void drop_executed_code(void) { dl_iterate_phdr(drop_file, NULL); }
