kernel += kernel/sched/policy.c
units += kernel/sched/policy_test
kernel/sched/policy_test-with := kernel/sched/policy.c
