/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execve: a new program in an old process. Everything that can be refused is checked with the old program intact: the file, its
 * segments, the strings, a whole new address space. After the other threads have gone nothing is refused any more; a
 * failure then (no memory for the stack's first pages) ends the process.
 *
 * The new stack from its top: the strings, AT_RANDOM's bytes, auxv, environment and argument pointers, argc.
 */
#include "sys/elf.h"
#include "sys/exec.h"
#include "sys/syscall.h"

#define STACK_SIZE MIB(8)   /* address space only: pages come with the first touch */
#define STACK_TOP 0x7ffffffff000ull
#define SCRIPT_DEPTH 4
#define CLOCK_TICKS 100
enum { AT_NULL = 0, AT_PHDR = 3, AT_PHENT = 4, AT_PHNUM = 5, AT_PAGESZ = 6, AT_BASE = 7, AT_FLAGS = 8, AT_ENTRY = 9, AT_UID = 11, AT_EUID = 12,
       AT_GID = 13, AT_EGID = 14, AT_PLATFORM = 15, AT_HWCAP = 16, AT_CLKTCK = 17, AT_SECURE = 23, AT_RANDOM = 25, AT_EXECFN = 31,
       AT_MINSIGSTKSZ = 51 };

/* ---- strings ---- */

struct exec_strings *exec_strings_new(void)
{
	struct exec_strings *s = kzalloc(sizeof(*s), MT_PROC);

	if (s)
		s->bytes = kmalloc(EXEC_STRINGS_MAX, MT_PROC);
	if (s && !s->bytes) {
		kfree(s);
		return NULL;
	}
	return s;
}

void exec_strings_free(struct exec_strings *s)
{
	kfree(s->bytes);
	kfree(s);
}

int exec_strings_add(struct exec_strings *s, const char *text)
{
	size_t n = strlen(text) + 1;

	if (n > EXEC_STRINGS_MAX - s->len)
		return -E2BIG;
	memcpy(s->bytes + s->len, text, n);
	s->len += n;
	return 0;
}

/* The strings of a 0-ended array of pointers in ring 3's memory. */
int exec_strings_add_user(struct exec_strings *s, uint64_t array, unsigned *count)
{
	*count = 0;
	for (; array; array += 8) {
		uint64_t p;
		int64_t n;

		if (arch_user_read(&p, uva(array), sizeof(p)))
			return -EFAULT;
		if (!p)
			break;
		if (s->len == EXEC_STRINGS_MAX)
			return -E2BIG;
		n = arch_user_read_string(s->bytes + s->len, uva(p), EXEC_STRINGS_MAX - s->len);
		if (n < 0)
			return n == -ENAMETOOLONG ? -E2BIG : (int)n;
		s->len += (size_t)n + 1;
		if (++*count > EXEC_POINTERS_MAX)
			return -E2BIG;
	}
	return 0;
}

/* ---- the file ---- */

struct image {
	struct node *node;          /* referenced */
	struct elf_plan plan;
	uint8_t head[ELF_HEAD_SIZE];
};

static int open_executable(struct thread *t, const char *path, struct image *im, int64_t *n)
{
	struct node *cwd = proc_cwd(t->proc);
	int r = vfs_lookup(cwd, path, true, &im->node);

	node_unref(cwd);
	if (r)
		return r;
	if (!node_is(im->node, S_IFREG) || !(im->node->mode & 0111))
		return -EACCES;
	*n = node_read(im->node, 0, im->head, sizeof(im->head));
	return *n < 0 ? (int)*n : 0;
}

/* "#!interpreter [argument]": the interpreter, its argument and the script's path come before the other arguments. */
static int use_script(struct image *im, int64_t n, struct exec_strings *s, char path[LINUX_NAME_MAX + 1], const char *script)
{
	char *line = (char *)im->head + 2, *end = line, *argument;
	struct exec_strings *out;
	size_t first = s->argc ? strlen(s->bytes) + 1 : 0;
	int r;

	im->head[MIN(n, ELF_HEAD_SIZE - 1)] = 0;
	while (*end && *end != '\n')
		end++;
	while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
		end--;
	*end = 0;
	while (*line == ' ' || *line == '\t')
		line++;
	for (argument = line; *argument && *argument != ' ' && *argument != '\t';)
		argument++;
	if (*argument) {
		*argument++ = 0;
		while (*argument == ' ' || *argument == '\t')
			argument++;
	}
	if (!*line || strlen(line) > LINUX_NAME_MAX)
		return -ENOEXEC;
	out = exec_strings_new();
	if (!out)
		return -ENOMEM;
	r = exec_strings_add(out, line);
	if (!r && *argument)
		r = exec_strings_add(out, argument);
	if (!r)
		r = exec_strings_add(out, script);
	if (!r && s->len - first > EXEC_STRINGS_MAX - out->len)
		r = -E2BIG;
	if (!r) {
		memcpy(out->bytes + out->len, s->bytes + first, s->len - first);
		out->len += s->len - first;
		s->argc = (s->argc ? s->argc - 1 : 0) + 2 + (*argument != 0);
		s->len = out->len;
		memcpy(s->bytes, out->bytes, out->len);
		strlcpy(path, line, LINUX_NAME_MAX + 1);
	}
	exec_strings_free(out);
	return r;
}

/* Finds the ELF file behind path, through scripts. */
static int load_head(struct thread *t, const char *path, struct exec_strings *s, struct image *im)
{
	char *name = kmalloc(2 * (LINUX_NAME_MAX + 1), MT_PROC), *other;
	const char *at = path;
	int r = name ? 0 : -ENOMEM;

	for (int depth = 0; !r; depth++) {
		int64_t n;

		r = open_executable(t, at, im, &n);
		if (r)
			break;
		if (n < 2 || im->head[0] != '#' || im->head[1] != '!') {
			r = elf_parse(im->head, (uint64_t)n, im->node->size, &im->plan);
			break;
		}
		if (depth == SCRIPT_DEPTH) {
			r = -ELOOP;
			break;
		}
		other = name + (depth & 1) * (LINUX_NAME_MAX + 1);
		r = use_script(im, n, s, other, at);
		at = other;
		node_unref(im->node);
		im->node = NULL;
	}
	kfree(name);
	return r;
}

/* ---- the address space ---- */

static int map_image(struct aspace *as, const struct image *im)
{
	for (unsigned i = 0; i < im->plan.nr; i++) {
		const struct elf_segment *e = &im->plan.segment[i];
		int64_t r;

		if (e->file_bytes)
			r = aspace_map(as, e->address, e->size, e->prot, true, &node_aspace_source, im->node, e->offset, e->file_bytes);
		else
			r = aspace_map(as, e->address, e->size, e->prot, true, NULL, NULL, 0, 0);
		if (r < 0)
			return (int)r;
	}
	aspace_set_brk_base(as, im->plan.end);
	return 0;
}

static struct aspace *build_aspace(const struct image *im, int *error)
{
	struct aspace *as = aspace_create();
	int64_t r;

	if (!as) {
		*error = -ENOMEM;
		return NULL;
	}
	*error = map_image(as, im);
	if (!*error) {
		r = aspace_map(as, STACK_TOP - STACK_SIZE, STACK_SIZE, PROT_READ | PROT_WRITE, true, NULL, NULL, 0, 0);
		*error = r < 0 ? (int)r : 0;
	}
	if (!*error)
		return as;
	aspace_unref(as);
	return NULL;
}

/* ---- the stack ---- */

struct stack_builder {
	uint64_t at;   /* grows upward while the table is written */
	int error;
};

static void push(struct stack_builder *b, uint64_t v)
{
	if (!b->error)
		b->error = arch_user_write(uva(b->at), &v, sizeof(v));
	b->at += 8;
}

static void push_aux(struct stack_builder *b, uint64_t key, uint64_t v)
{
	push(b, key);
	push(b, v);
}

static void push_pointers(struct stack_builder *b, const char *bytes, uint64_t user, unsigned n, size_t *offset)
{
	for (unsigned i = 0; i < n; i++) {
		push(b, user + *offset);
		*offset += strlen(bytes + *offset) + 1;
	}
	push(b, 0);
}

static void push_auxv(struct stack_builder *b, const struct elf_plan *plan, uint64_t random, uint64_t platform, uint64_t name)
{
	uint32_t r[4];

	arch_cpuid(1, 0, r);
	push_aux(b, AT_PHDR, plan->phdr);
	push_aux(b, AT_PHENT, 56);
	push_aux(b, AT_PHNUM, plan->phnum);
	push_aux(b, AT_PAGESZ, PAGE_SIZE);
	push_aux(b, AT_BASE, 0);
	push_aux(b, AT_FLAGS, 0);
	push_aux(b, AT_ENTRY, plan->entry);
	push_aux(b, AT_UID, 0);
	push_aux(b, AT_EUID, 0);
	push_aux(b, AT_GID, 0);
	push_aux(b, AT_EGID, 0);
	push_aux(b, AT_SECURE, 0);
	push_aux(b, AT_HWCAP, r[3]);
	push_aux(b, AT_CLKTCK, CLOCK_TICKS);
	push_aux(b, AT_MINSIGSTKSZ, arch_fpu_size() + 1024);
	push_aux(b, AT_RANDOM, random);
	push_aux(b, AT_PLATFORM, platform);
	push_aux(b, AT_EXECFN, name);
	push_aux(b, AT_NULL, 0);
}
#define AUX_ENTRIES 19

/* In the new address space, which is current's already. Returns the stack pointer, 0 on failure. */
static uint64_t build_stack(const struct elf_plan *plan, const struct exec_strings *s)
{
	static const char platform[8] = "x86_64";
	uint8_t random[16];
	uint64_t strings = STACK_TOP - 16 - ALIGN_UP(s->len, 16), platform_at = strings - 16, random_at = platform_at - 16;
	uint64_t sp = ALIGN_DOWN(random_at - 8 * (1 + s->argc + 1 + s->envc + 1 + 2 * AUX_ENTRIES), 16);
	struct stack_builder b = { .at = sp };
	size_t offset = 0;

	random_bytes(random, sizeof(random));
	if (arch_user_write(uva(strings), s->bytes, s->len) || arch_user_write(uva(platform_at), platform, sizeof(platform)) ||
	    arch_user_write(uva(random_at), random, sizeof(random)))
		return 0;
	push(&b, s->argc);
	push_pointers(&b, s->bytes, strings, s->argc, &offset);
	push_pointers(&b, s->bytes, strings, s->envc, &offset);
	push_auxv(&b, plan, random_at, platform_at, strings + offset); /* the path follows the environment */
	return b.error ? 0 : sp;
}

static void take_name(struct thread *t, const char *path)
{
	const char *base = path;

	for (const char *p = path; *p; p++)
		if (*p == '/')
			base = p + 1;
	thread_set_name(t, base);
}

/* Past the point of no return. False: the process must end. */
static bool switch_program(struct thread *t, struct image *im, struct aspace *as, const struct exec_strings *s, struct trap_frame *tf)
{
	struct proc *p = t->proc;
	struct aspace *old = p->as;
	uint64_t sp;

	proc_set_aspace(t, as);
	if (old)
		aspace_unref(old);
	proc_vfork_done(p);
	fd_close_on_exec(p->files);
	signal_reset_for_exec(p);
	t->altstack_flags = SS_DISABLE;
	t->altstack_size = 0;
	t->clear_child_tid = 0;
	node_ref(im->node);
	proc_use_node(&p->exe, im->node);
	arch_user_bases_set(&t->world->arch, 0, 0);
	preempt_disable(); /* a switch would save the old registers over it */
	arch_fpu_init(t->world->arch.fpu);
	arch_fpu_restore(t->world->arch.fpu);
	preempt_enable();
	sp = build_stack(&im->plan, s);
	*tf = (struct trap_frame){ .vector = tf->vector, .rip = im->plan.entry, .rsp = sp, .cs = tf->cs, .ss = tf->ss, .rflags = 0x202 };
	return sp != 0;
}

int exec_program(struct thread *t, const char *path, struct exec_strings *s, struct trap_frame *tf)
{
	struct image *im = kzalloc(sizeof(*im), MT_PROC);
	struct aspace *as = NULL;
	int r;

	if (!im)
		return -ENOMEM;
	r = load_head(t, path, s, im);
	if (!r)
		r = exec_strings_add(s, path); /* AT_EXECFN */
	if (!r)
		as = build_aspace(im, &r);
	if (!r) {
		proc_end_other_threads(t);
		if (current->kill) {
			aspace_unref(as);
			r = -EINTR;
		}
	}
	if (!r) {
		bool ok = switch_program(t, im, as, s, tf);

		take_name(t, path);
		if (!ok) {
			log_error("%s: no memory for its stack", path);
			spin_lock(&proc_lock);
			proc_begin_exit(t->proc, SIGKILL);
			spin_unlock(&proc_lock);
		}
	}
	if (im->node)
		node_unref(im->node);
	kfree(im);
	return r;
}

SYSCALL(execve)
{
	struct exec_strings *s = exec_strings_new();
	char *path = kpage_alloc(MT_PROC);
	int64_t r = -ENOMEM;

	if (s && path)
		r = arch_user_read_string(path, uva(a0), LINUX_PATH_MAX);
	if (r >= 0)
		r = exec_strings_add_user(s, a1, &s->argc);
	if (r >= 0)
		r = exec_strings_add_user(s, a2, &s->envc);
	if (r >= 0)
		r = exec_program(t, path, s, t->frame);
	if (path)
		kpage_free(path);
	if (s)
		exec_strings_free(s);
	return r;
}
