/* Preloaded into 7-Zip, which times itself: sets a mark whenever it reads the clock, and shows it one second more.
 *
 * Its benchmark reads the clock when it begins and ends to compress or decompress, and at each progress in between.
 * It repeats its work as often as the clock lets it: with this clock the same number of times in every run.
 */
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    static long seconds;
    (void)zone;
    syscall(SYS_getsid, 0);
    time->tv_sec = seconds++;
    time->tv_usec = 0;
    return 0;
}
