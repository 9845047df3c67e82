/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The vocabulary of every kernel file: integers, distinct address types, small macros.
 *
 * Three kinds of address never mix by accident, since each is a struct of its own: gpa_t (what a
 * guest believes is physical), hpa_t (what the machine calls physical) and uva_t (a pointer handed
 * in by ring 3, never dereferenced). Host-virtual addresses are ordinary pointers.
 */
#ifndef CORE_TYPES_H
#define CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct { uint64_t v; } gpa_t;
typedef struct { uint64_t v; } hpa_t;
typedef struct { uint64_t v; } uva_t;

static inline gpa_t gpa(uint64_t v) { return (gpa_t){ v }; }
static inline hpa_t hpa(uint64_t v) { return (hpa_t){ v }; }
static inline uva_t uva(uint64_t v) { return (uva_t){ v }; }
static inline gpa_t gpa_add(gpa_t a, uint64_t n) { return gpa(a.v + n); }
static inline hpa_t hpa_add(hpa_t a, uint64_t n) { return hpa(a.v + n); }

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096ull
#define PAGE_MASK (PAGE_SIZE - 1)
#define BLOCK_SHIFT 21
#define BLOCK_SIZE (1ull << BLOCK_SHIFT) /* 2 MiB: the unit in which RAM is owned */
#define BLOCK_MASK (BLOCK_SIZE - 1)
#define FRAMES_PER_BLOCK 512

#define KIB(n) ((uint64_t)(n) << 10)
#define MIB(n) ((uint64_t)(n) << 20)
#define GIB(n) ((uint64_t)(n) << 30)
#define NSEC_PER_SEC 1000000000ull

#define BIT(n) (1ull << (n))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a) (((x) + ((a)-1)) & ~((uint64_t)(a)-1))
#define ALIGN_DOWN(x, a) ((x) & ~((uint64_t)(a)-1))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define container_of(p, type, member) ((type *)((char *)(p) - offsetof(type, member)))

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define READ_ONCE(x) (*(const volatile __typeof__(x) *)&(x))
#define WRITE_ONCE(x, v) (*(volatile __typeof__(x) *)&(x) = (v))
#define barrier() __asm__ volatile("" ::: "memory")
#define __packed __attribute__((packed))
#define __printf(f, a) __attribute__((format(printf, f, a)))

#endif
