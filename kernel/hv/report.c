/* SPDX-License-Identifier: Apache-2.0 */
/* Why a VM was stopped, in text that a person can work with: registers, segments, code bytes, the last exits, the hardware's word. */
#include "hv/hv_priv.h"

struct text { char *buf; size_t size, len; };

static void __printf(2, 3) put(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->len >= t->size)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, t->size - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += (size_t)n;
}

static unsigned long long ull(uint64_t v) { return v; }

static void put_registers(struct text *t, struct vcpu *v)
{
	static const char *const name[16] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

	for (unsigned i = 0; i < 16; i++)
		put(t, "%3s %016llx%s", name[i], ull(v->gpr[i]), i % 4 == 3 ? "\n" : "  ");
	put(t, "rip %016llx  rflags %llx  activity %d\n", ull(v->rip), ull(v->rflags), v->activity);
	put(t, "cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx dr6 %llx dr7 %llx\n", ull(hv->get_cr(v, HV_CR0)), ull(hv->get_cr(v, HV_CR2)),
	    ull(hv->get_cr(v, HV_CR3)), ull(hv->get_cr(v, HV_CR4)), ull(hv->get_cr(v, HV_EFER)), ull(hv->get_cr(v, HV_DR6)), ull(hv->get_cr(v, HV_DR7)));
}

static void put_segments(struct text *t, struct vcpu *v)
{
	static const char *const name[] = { "es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr", "gdtr", "idtr" };
	struct vmm_segment s;

	for (unsigned i = HV_ES; i <= HV_IDTR; i++) {
		hv->get_seg(v, (enum hv_seg)i, &s);
		put(t, "%4s %04x %016llx %08x %03x%s", name[i], s.selector, ull(s.base), s.limit, s.attr, i % 2 ? "\n" : "  ");
	}
}

static void put_code(struct text *t, struct vcpu *v)
{
	uint8_t b[15];
	unsigned n = sizeof(b);

	while (n && !emul_fetch_fast(v, b, n))
		n--;
	put(t, "code at rip:%s", n ? "" : " unreadable");
	for (unsigned i = 0; i < n; i++)
		put(t, " %02x", b[i]);
	put(t, "\n");
}

void vcpu_report(struct vcpu *v, char *buf, size_t size, const char *why)
{
	struct text t = { buf, size, 0 };
	char word[256];
	unsigned n = (unsigned)MIN(v->exits, ARRAY_SIZE(v->last_exit_code));

	put(&t, "VM '%.63s' vCPU %u: %s\n", v->vm->config.name, v->index, why);
	hv->describe(v, word, sizeof(word));
	put(&t, "%s\n", word);
	put_registers(&t, v);
	put_segments(&t, v);
	put_code(&t, v);
	put(&t, "%llu exits, the last (rip:code), newest first:", ull(v->exits));
	for (unsigned i = 1; i <= n; i++) {
		unsigned at = (unsigned)((v->exits - i) % ARRAY_SIZE(v->last_exit_code));

		put(&t, " %llx:%llx", ull(v->last_exit_rip[at]), ull(v->last_exit_code[at]));
	}
	put(&t, "\n");
}
