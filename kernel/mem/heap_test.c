/* SPDX-License-Identifier: Apache-2.0 */
#include "arch/host/host_mem.h"
#include "mem/mem_priv.h"
#include "test/unit.h"
#include <setjmp.h>

static jmp_buf on_panic;
static void panic_caught(const char *text) { (void)text; longjmp(on_panic, 1); }
#define PANICS(statement)                                          \
	({                                                         \
		bool caught_ = true;                               \
		host_panic_hook = panic_caught;                    \
		if (!setjmp(on_panic)) {                           \
			statement;                                 \
			caught_ = false;                           \
		}                                                  \
		host_panic_hook = NULL;                            \
		caught_;                                           \
	})

/* One machine for all tests: the heap has no reset, and none is needed when nothing leaks. */
static void machine(void)
{
	static bool done;

	if (done)
		return;
	done = true;
	host_mem_init(MIB(64), 1);
	heap_add_block(hpa(BLOCK_SIZE));
	uframe_init();
	tables_balance();
}

static uint64_t account_sum;
static char account_text[4096];
static void account_line(void *ctx, const char *name, uint64_t bytes)
{
	size_t n = strlen(account_text);

	account_sum += bytes;
	snprintf(account_text + n, sizeof(account_text) - n, "%s %llu\n", name, (unsigned long long)bytes);
}
static void account(void)
{
	account_sum = 0;
	account_text[0] = 0;
	mem_account(account_line, NULL);
}

/* Panics with the heap's lock held: first in the file, hence run last, on a heap that nothing uses any more. */
TEST(heap_is_watched)
{
	uint8_t *p, *q;

	machine();
	p = kmalloc(40, MT_TEST);
	q = kmalloc(64, MT_TEST);
	memset(q + 64, 1, 32); /* to the end of its slot of 96 */
	CHECK(PANICS(kfree(q)));
	host_unlock_all();
	kfree(p);
	CHECK(PANICS(kfree(p)));
	host_unlock_all();
}

TEST(sizes_and_alignment)
{
	machine();
	for (size_t n = 0; n < 9000; n = n * 5 / 4 + 1) {
		uint8_t *p = kmalloc(n, MT_TEST), *z = kzalloc(n, MT_TEST);

		CHECK(p && z && !((uintptr_t)p & 15) && !((uintptr_t)z & 15));
		CHECK(n < PAGE_SIZE || !((uintptr_t)p & PAGE_MASK));
		memset(p, 0x5a, n);
		for (size_t i = 0; i < n; i++)
			CHECK(!z[i]);
		kfree(p);
		kfree(z);
	}
	CHECK_EQ(mem_tag_bytes(MT_TEST), 0);
	CHECK(!kmalloc(BLOCK_SIZE, MT_TEST));
	kfree(NULL);
}

/* Random sizes and tags against a model that checks every byte; at the end all is as before. */
TEST(random_operations)
{
	enum { N = 300 };
	static struct { uint8_t *p; size_t n; uint8_t fill; } model[N];
	uint64_t seed = 7;
	struct heap_facts before, after;

	machine();
	mem_drain();
	heap_get_facts(&before);
	for (int i = 0; i < 60000; i++) {
		unsigned r = (unsigned)((seed = seed * 6364136223846793005ull + 1442695040888963407ull) >> 33), k = r % N;

		if (!model[k].p) {
			model[k].n = r / N % 16 ? r / 64 % 600 : r / 64 % 100000;
			model[k].fill = (uint8_t)r;
			model[k].p = kmalloc(model[k].n, r % MT_TAGS);
			if (model[k].p)
				memset(model[k].p, model[k].fill, model[k].n);
			continue;
		}
		for (size_t b = 0; b < model[k].n; b++)
			if (model[k].p[b] != model[k].fill) {
				CHECK(!"content");
				break;
			}
		kfree(model[k].p);
		model[k].p = NULL;
	}
	for (int k = 0; k < N; k++)
		kfree(model[k].p);
	mem_drain();
	heap_get_facts(&after);
	CHECK_EQ(before.used_bytes, after.used_bytes);
	CHECK_EQ(before.blocks, after.blocks);
	CHECK_EQ(before.free_pages, after.free_pages);
}

TEST(user_frames_count_references)
{
	struct uframe_facts a, b;
	hpa_t f[2000];

	machine();
	uframe_drain();
	uframe_get_facts(&a);
	CHECK_EQ(a.scrap, 256); /* 1 to 2 MiB of block 0 */
	for (int i = 0; i < 2000; i++) {
		f[i] = uframe_alloc(i & 1);
		CHECK(f[i].v && uframe_refs(f[i]) == 1);
		CHECK(!(i & 1) || !*(uint64_t *)direct_ptr(f[i]));
		memset(direct_ptr(f[i]), i, PAGE_SIZE);
	}
	uframe_ref(f[7]);
	uframe_unref(f[7]);
	CHECK_EQ(uframe_refs(f[7]), 1);
	for (int i = 0; i < 2000; i++) {
		CHECK(((uint8_t *)direct_ptr(f[i]))[99] == (uint8_t)i);
		uframe_unref(f[i]);
	}
	CHECK(block_count(OWNER_USER) <= 1);
	uframe_drain();
	uframe_get_facts(&b);
	CHECK_EQ(block_count(OWNER_USER), 0);
	CHECK_EQ(a.used, b.used);
	CHECK_EQ(a.free, b.free);
}

TEST(account_adds_up_and_repeats_to_the_byte)
{
	static char first[4096];
	void *p[64], *stack[20];

	machine();
	stack[0] = kstack_alloc(); /* the tables of the stacks' space stay */
	kstack_free(stack[0]);
	account();
	CHECK_EQ(account_sum, mem_ram_kib() << 10);
	strcpy(first, account_text);
	for (int i = 0; i < 64; i++)
		p[i] = kmalloc((size_t)i * 777, MT_TEST);
	for (int i = 0; i < 20; i++)
		stack[i] = kstack_alloc();
	hpa_t f = uframe_alloc(true);
	hpa_t vm = block_alloc(owner_vm(5), 0), tables = block_alloc(owner_vm_tables(5), 0);
	account();
	CHECK_EQ(account_sum, mem_ram_kib() << 10);
	CHECK(strcmp(first, account_text));
	CHECK(strstr(account_text, "vm 5: memory 2097152\nvm 5: tables 2097152\n"));
	for (int i = 0; i < 64; i++)
		kfree(p[i]);
	for (int i = 0; i < 20; i++)
		kstack_free(stack[i]);
	uframe_unref(f);
	block_free(vm);
	block_free(tables);
	account();
	CHECK_EQ(account_sum, mem_ram_kib() << 10);
	CHECK(!strcmp(first, account_text));
}
