/* Hides instruction sets from a program: LD_PRELOAD it with HIDE=amx, HIDE=vnni or HIDE=avx512.

   Linux makes CPUID fault on request (arch_prctl(2), ARCH_SET_CPUID; Intel processors, and AMD's from Zen 4 on);
   the handler answers in its place, with fewer bits. amx: without AMX. vnni: that, and no VNNI, as Skylake-X.
   avx512: AMX and all of AVX-512 hidden, AVX-VNNI stays, as Alder Lake. all: that too hidden, as Haswell. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

/* Leaf 7: what of subleaf 0 in ebx, ecx, edx, and of subleaf 1 in eax, edx, belongs to what. */
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

static long faulting(int on) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !on); }

static void answer(int signal_number, siginfo_t *info, void *context) {
  (void)info;
  greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
  const unsigned char *code = (const unsigned char *)registers[REG_RIP];
  if (code[0] != 0x0f || code[1] != 0xa2) { /* no CPUID: a crash like any other */
    signal(signal_number, SIG_DFL);
    return;
  }
  unsigned leaf = registers[REG_RAX], subleaf = registers[REG_RCX], a = leaf, b, c = subleaf, d;
  faulting(0);
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  faulting(1);
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
  struct sigaction action = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
  sigaction(SIGSEGV, &action, 0);
  if (faulting(1)) _exit(77); /* this processor or kernel cannot */
}
