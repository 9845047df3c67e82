/* SPDX-License-Identifier: Apache-2.0 */
/* What the system says about itself, limits, randomness, scheduling wishes. */
#include "sys/syscall.h"

#define UTS_LEN 65
#define RLIM_INFINITY UINT64_MAX

SYSCALL(uname)
{
	static const char *const text[6] = { "Linux", "mica", "5.10.0-mica", "#1 SMP", "x86_64", "(none)" };
	char *uts = kzalloc(6 * UTS_LEN, MT_PROC);
	int r;

	if (!uts)
		return -ENOMEM;
	for (int i = 0; i < 6; i++)
		strlcpy(uts + i * UTS_LEN, text[i], UTS_LEN);
	r = arch_user_write(uva(a0), uts, 6 * UTS_LEN);
	kfree(uts);
	return r;
}

struct linux_sysinfo {
	int64_t uptime;
	uint64_t loads[3], total, free, shared, buffers, total_swap, free_swap;
	uint16_t procs, pad;
	uint64_t total_high, free_high;
	uint32_t unit, tail;
};
_Static_assert(sizeof(struct linux_sysinfo) == 112, "struct sysinfo");

SYSCALL(sysinfo)
{
	struct linux_sysinfo s = {
		.uptime = (int64_t)(clock_ns() / NSEC_PER_SEC), .total = mem_ram_kib() * 1024, .free = mem_promisable(), .unit = 1,
	};

	spin_lock(&proc_lock);
	list_for_each(l, &proc_all)
		s.procs++;
	spin_unlock(&proc_lock);
	return arch_user_write(uva(a0), &s, sizeof(s));
}

/* ---- limits: fixed ones, told truthfully ---- */

struct linux_rlimit { uint64_t now, most; };
enum { RLIMIT_STACK = 3, RLIMIT_CORE = 4, RLIMIT_NPROC = 6, RLIMIT_NOFILE = 7, RLIMITS = 16 };

static uint64_t limit_of(uint64_t which)
{
	switch (which) {
	case RLIMIT_STACK:
		return MIB(8);
	case RLIMIT_CORE:
		return 0;
	case RLIMIT_NPROC:
		return PROC_MAX;
	case RLIMIT_NOFILE:
		return FD_MAX;
	default:
		return RLIM_INFINITY;
	}
}

SYSCALL(getrlimit)
{
	struct linux_rlimit l = { limit_of(a0), limit_of(a0) };

	return a0 >= RLIMITS ? -EINVAL : arch_user_write(uva(a1), &l, sizeof(l));
}
SYSCALL(setrlimit) { return a0 >= RLIMITS ? -EINVAL : 0; }
SYSCALL(prlimit64)
{
	if ((int)a0 && (int)a0 != t->proc->pid)
		return -ESRCH;
	return a3 ? sys_getrlimit(t, a1, a3, 0, 0, 0, 0) : a1 >= RLIMITS ? -EINVAL : 0;
}

SYSCALL(getrandom)
{
	uint8_t bytes[64];
	uint64_t done = 0, n = MIN(a1, MIB(32));

	while (done < n && !current->kill) {
		size_t part = MIN(n - done, sizeof(bytes));

		random_bytes(bytes, part);
		if (arch_user_write(uva(a0 + done), bytes, part))
			return -EFAULT;
		done += part;
	}
	return (int64_t)done;
}

/* ---- scheduling ---- */

SYSCALL(sched_yield)
{
	sched_yield();
	return 0;
}

static struct thread *thread_of(struct thread *t, int tid)
{
	struct thread *other = tid ? thread_find(tid) : t;

	return other && other->proc == t->proc ? other : NULL;
}

static uint64_t online_cpus(void) { return cpu_count >= 64 ? UINT64_MAX : BIT(cpu_count) - 1; }

SYSCALL(sched_setaffinity)
{
	uint64_t mask = 0;
	struct thread *to;
	int64_t r = -ESRCH;

	if (arch_user_read(&mask, uva(a2), MIN(a1, sizeof(mask))))
		return -EFAULT;
	mask &= online_cpus();
	if (!mask)
		return -EINVAL;
	spin_lock(&proc_lock);
	to = thread_of(t, (int)a0);
	if (to) {
		world_set_affinity(to->world, mask);
		r = 0;
	}
	spin_unlock(&proc_lock);
	if (!r && to == t && !(mask & BIT(arch_cpu_id())))
		sched_yield();
	return r;
}

SYSCALL(sched_getaffinity)
{
	struct thread *of;
	uint64_t mask = 0;

	spin_lock(&proc_lock);
	of = thread_of(t, (int)a0);
	if (of)
		mask = of->world->affinity & online_cpus();
	spin_unlock(&proc_lock);
	if (!of)
		return -ESRCH;
	if (a1 < sizeof(mask))
		return -EINVAL;
	return arch_user_write(uva(a2), &mask, sizeof(mask)) ? -EFAULT : (int64_t)sizeof(mask);
}

/* Kept by nobody: robust mutexes whose owner dies stay locked. C libraries register a list in every thread all the same. */
SYSCALL(set_robust_list) { return 0; }
