/*
 * Debian 12's user-mode-linux has a fixed buffer for the extended processor state. On processors whose state is
 * larger the kernel refuses to set a part of it, and the guest dies with its first process. Preloaded, this turns
 * such a partial write into read, patch, write of the whole. It changes nothing where the state fits.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <elf.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

typedef long (*ptrace_fn)(int, long, long, void *);

long ptrace(enum __ptrace_request request, ...)
{
	static ptrace_fn next;
	static unsigned char whole[1 << 16] __attribute__((aligned(64)));
	va_list rest;
	va_start(rest, request);
	long pid = va_arg(rest, long);
	long address = va_arg(rest, long);
	void *data = va_arg(rest, void *);
	va_end(rest);

	if (!next)
		next = (ptrace_fn)dlsym(RTLD_NEXT, "ptrace");
	if ((int)request == PTRACE_SETREGSET && address == NT_X86_XSTATE && data) {
		struct iovec *part = data;
		struct iovec full = { whole, sizeof whole };
		if (next(PTRACE_GETREGSET, pid, address, &full) == 0 && part->iov_len < full.iov_len) {
			memcpy(whole, part->iov_base, part->iov_len);
			return next(PTRACE_SETREGSET, pid, address, &full);
		}
	}
	return next(request, pid, address, data);
}
