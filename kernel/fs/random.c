/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random bytes for /dev/random, getrandom() and new programs: ChaCha20 (RFC 8439) keyed from RDRAND where there is one and from
 * the TSC. Each request takes its own keystream, whose first 32 bytes become the next key, so that what was given out
 * cannot be computed from a later state.
 */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "fs/vfs.h"

static struct {
	struct spinlock lock;
	uint32_t key[8];
	uint64_t nonce;
	bool seeded;
} pool = { .lock = SPINLOCK_INIT("random", RANK_DEV) };

static uint32_t rotl(uint32_t x, int n) { return x << n | x >> (32 - n); }

static void quarter_round(uint32_t *x, int a, int b, int c, int d)
{
	x[a] += x[b]; x[d] = rotl(x[d] ^ x[a], 16);
	x[c] += x[d]; x[b] = rotl(x[b] ^ x[c], 12);
	x[a] += x[b]; x[d] = rotl(x[d] ^ x[a], 8);
	x[c] += x[d]; x[b] = rotl(x[b] ^ x[c], 7);
}

void chacha20_block(const uint32_t key[8], uint32_t counter, const uint32_t nonce[3], uint32_t out[16])
{
	uint32_t in[16] = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 };

	memcpy(in + 4, key, 32);
	in[12] = counter;
	memcpy(in + 13, nonce, 12);
	memcpy(out, in, 64);
	for (int i = 0; i < 10; i++) {
		quarter_round(out, 0, 4, 8, 12);
		quarter_round(out, 1, 5, 9, 13);
		quarter_round(out, 2, 6, 10, 14);
		quarter_round(out, 3, 7, 11, 15);
		quarter_round(out, 0, 5, 10, 15);
		quarter_round(out, 1, 6, 11, 12);
		quarter_round(out, 2, 7, 8, 13);
		quarter_round(out, 3, 4, 9, 14);
	}
	for (int i = 0; i < 16; i++)
		out[i] += in[i];
}

static bool cpu_random(uint64_t *out)
{
	uint32_t r[4];
	uint8_t ok = 0;

	arch_cpuid(1, 0, r);
	if (!(r[2] & BIT(30)))
		return false;
	for (int tries = 0; tries < 10 && !ok; tries++)
		__asm__ volatile("rdrand %0; setc %1" : "=r"(*out), "=qm"(ok) : : "cc");
	return ok;
}

static void pool_seed(void)
{
	for (int i = 0; i < 8; i += 2) {
		uint64_t v = arch_rdtsc() * 0x9e3779b97f4a7c15ull, hw = 0;

		if (cpu_random(&hw))
			v ^= hw;
		pool.key[i] ^= (uint32_t)v;
		pool.key[i + 1] ^= (uint32_t)(v >> 32);
	}
	pool.seeded = true;
}

void random_bytes(void *buf, size_t n)
{
	uint32_t key[8], block[16], nonce[3] = { 0 };
	uint8_t *p = buf;

	spin_lock(&pool.lock);
	if (!pool.seeded)
		pool_seed();
	pool.nonce++;
	memcpy(nonce, &pool.nonce, sizeof(pool.nonce));
	memcpy(key, pool.key, sizeof(key));
	chacha20_block(key, 0, nonce, block);
	memcpy(pool.key, block, sizeof(pool.key));
	spin_unlock(&pool.lock);
	for (uint32_t counter = 1; n; counter++) {
		size_t part = MIN(n, sizeof(block));

		chacha20_block(key, counter, nonce, block);
		memcpy(p, block, part);
		p += part;
		n -= part;
	}
	memset(key, 0, sizeof(key));
}
