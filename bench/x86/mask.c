/* Hides instruction sets from a program: LD_PRELOAD it with HIDE=amx, vnni, avx512 or all.

   Linux makes CPUID fault on request (arch_prctl(2), ARCH_SET_CPUID; Intel processors, and AMD's from Zen 4 on).
   The signal handler then returns the result of CPUID with fewer bits. HIDE=amx hides AMX. HIDE=vnni hides AMX and
   VNNI, like Skylake-X. HIDE=avx512 hides AMX and AVX-512, but not AVX-VNNI, like Alder Lake. HIDE=all hides
   AVX-VNNI too, like Haswell. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

/* Feature bits of leaf 7: subleaf 0 in ebx, ecx, edx, and subleaf 1 in eax, edx. */
#define AMX_EDX (BIT(22) | BIT(24) | BIT(25))
#define VNNI_ECX BIT(11)
#define AVX512_EBX (BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31))
#define AVX512_ECX (BIT(1) | BIT(6) | VNNI_ECX | BIT(12) | BIT(14))
#define AVX512_EDX (BIT(2) | BIT(3) | BIT(8) | BIT(23))
#define AVX_VNNI_EAX BIT(4)
#define AVX512_BF16_EAX BIT(5)
#define AMX_FP16_EAX BIT(21)
#define AVX_VNNI_INT_EDX (BIT(4) | BIT(10))

static struct { unsigned ebx, ecx, edx, eax1, edx1; } hidden;

static long set_faulting(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void handle_fault(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *code = (const unsigned char *)registers[REG_RIP];
  if (code[0] != 0x0f || code[1] != 0xa2) { /* not CPUID: an ordinary crash */
    signal(signal_number, SIG_DFL);
    return;
  }
  unsigned leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a = leaf, b, c = subleaf, d;
  set_faulting(0);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  set_faulting(1);
  if (leaf == 7 && subleaf == 0) b &= ~hidden.ebx, c &= ~hidden.ecx, d &= ~hidden.edx;
  if (leaf == 7 && subleaf == 1) a &= ~hidden.eax1, d &= ~hidden.edx1;
  registers[REG_RAX] = a, registers[REG_RBX] = b, registers[REG_RCX] = c, registers[REG_RDX] = d;
  registers[REG_RIP] += 2;
}

__attribute__((constructor)) static void hide(void) {
  const char *what = getenv("HIDE");
  if (!what || !*what) return;
  hidden.edx = AMX_EDX, hidden.eax1 = AMX_FP16_EAX;
  if (!strcmp(what, "avx512") || !strcmp(what, "all"))
    hidden.ebx = AVX512_EBX, hidden.ecx = AVX512_ECX, hidden.edx |= AVX512_EDX, hidden.eax1 |= AVX512_BF16_EAX;
  if (!strcmp(what, "vnni")) hidden.ecx = VNNI_ECX;
  if (!strcmp(what, "vnni") || !strcmp(what, "all"))
    hidden.eax1 |= AVX_VNNI_EAX, hidden.edx1 = AVX_VNNI_INT_EDX;
  struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, 0);
  if (set_faulting(1)) _exit(77); /* this processor or kernel does not support it */
}
