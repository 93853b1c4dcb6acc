/* Removal of executed code from memory. */
#ifndef TINYEDGE_DROP_CODE_H
#define TINYEDGE_DROP_CODE_H

/* Drops the pages of code that this process has executed so far; the kernel maps them again when they run. */
void drop_executed_code(void);

#endif
