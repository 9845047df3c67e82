kernel += kernel/sched/policy.c kernel/sched/runq.c kernel/sched/switch.c kernel/sched/world.c kernel/sched/timer.c kernel/sched/waitq.c \
	kernel/sched/mutex.c kernel/sched/sleep.c kernel/sched/selftest.c
units += kernel/sched/policy_test kernel/sched/timer_test
kernel/sched/policy_test-with := kernel/sched/policy.c
kernel/sched/timer_test-with := kernel/sched/timer.c kernel/arch/host/host_core.c
