/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest program of torture runs: one thread per CPU fills and checks memory whose content is a function of address and round,
 * and one watches the clock (sleeps must end, and neither early nor absurdly late; time never goes back).
 *   memcheck ROUNDS        status 0 when no byte and no timer was wrong
 *   memcheck spin SECONDS  burns CPU, then prints how many loops it got: for measuring shares
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MIB_PER_THREAD 24
static int rounds;
static volatile int stop, wrong;

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}
static uint64_t pattern(uint64_t i, uint64_t salt)
{
	uint64_t x = i * 0x9e3779b97f4a7c15u + salt;

	return x ^ x >> 29;
}
static void *checker(void *arg)
{
	uint64_t id = (uint64_t)(uintptr_t)arg, words = (uint64_t)MIB_PER_THREAD << 17;
	uint64_t *m = mmap(NULL, words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (m == MAP_FAILED) {
		printf("memcheck: no memory\n");
		wrong = 1;
		return NULL;
	}
	for (int r = 0; r < rounds && !wrong; r++) {
		uint64_t salt = id << 32 | (unsigned)r;
		uint64_t step = r % 2 ? 8 : 1; /* odd rounds touch one word a line: more pages in less time */

		for (uint64_t i = 0; i < words; i += step)
			m[i] = pattern(i, salt);
		for (uint64_t i = 0; i < words; i += step)
			if (m[i] != pattern(i, salt)) {
				printf("memcheck: thread %d round %d word %llx is %llx, want %llx\n", (int)id, r, (unsigned long long)i,
				       (unsigned long long)m[i], (unsigned long long)pattern(i, salt));
				wrong = 1;
				break;
			}
		if (r % 8 == 7)
			madvise(m, words * 8, MADV_DONTNEED);
	}
	return NULL;
}
static void *timekeeper(void *arg)
{
	uint64_t last = now(), naps = 0;

	(void)arg;
	while (!stop && !wrong) {
		struct timespec nap = { 0, 3000000 };
		uint64_t start = now(), end;

		nanosleep(&nap, NULL);
		end = now();
		if (end < last || end - start < 3000000 || end - start > 60000000000u) {
			printf("memcheck: a sleep of 3 ms took %lld ns\n", (long long)(end - start));
			wrong = 1;
		}
		last = end;
		naps++;
	}
	printf("memcheck: %llu sleeps ended\n", (unsigned long long)naps);
	return NULL;
}
/* Numbered lines of known text: what the console carries must come out whole and in order. */
static void *chatter(void *arg)
{
	(void)arg;
	for (unsigned n = 0; !stop && !wrong; n++) {
		struct timespec nap = { 0, 200000 };

		printf("chatter %u abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz\n", n);
		nanosleep(&nap, NULL);
	}
	return NULL;
}
static int spin(double seconds)
{
	uint64_t end = now() + (uint64_t)(seconds * 1e9), loops = 0;

	while (now() < end) {
		for (volatile int i = 0; i < 100000; i++)
			;
		loops++;
	}
	printf("GUEST loops %llu\n", (unsigned long long)loops);
	return 0;
}
int main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	pthread_t t[64], k, c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc == 3 && !strcmp(argv[1], "spin"))
		return spin(atof(argv[2]));
	rounds = argc > 1 ? atoi(argv[1]) : 1;
	pthread_create(&k, NULL, timekeeper, NULL);
	pthread_create(&c, NULL, chatter, NULL);
	for (long i = 0; i < cpus && i < 64; i++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(i, &set);
		pthread_create(&t[i], NULL, checker, (void *)i);
		pthread_setaffinity_np(t[i], sizeof(set), &set);
	}
	for (long i = 0; i < cpus && i < 64; i++)
		pthread_join(t[i], NULL);
	stop = 1;
	pthread_join(k, NULL);
	pthread_join(c, NULL);
	printf("memcheck: %ld threads, %d rounds, %s\n", cpus, rounds, wrong ? "WRONG" : "right");
	return wrong;
}
