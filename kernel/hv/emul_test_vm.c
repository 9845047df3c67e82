/* SPDX-License-Identifier: Apache-2.0 */
/* The fake VM behind the emulator's unit tests (emul_test_vm.h). */
#include "hv/emul_test_vm.h"
#include <stdio.h>
#include <stdlib.h>

uint8_t *tv_ram, *tv_ram2, *tv_rom, *tv_dev0, *tv_dev3;
struct vcpu *tv_vcpu;
uint64_t tv_cr[HV_CRS];
struct vmm_segment tv_seg[10];
bool tv_fast_fails;
unsigned tv_stops, tv_bus_accesses, tv_cas_fail, tv_phys_bits = 40, tv_shadow_cleared, tv_backdoor_calls;
enum backdoor_result tv_backdoor;
char tv_stop_text[256];
uint32_t tv_port_val;
uint8_t tv_out[4096];
unsigned tv_out_n;
void (*tv_ring3_hook)(void);

static struct vm vm;
static const struct vm_range ranges[] = {
	{ { 0 }, TV_RAM_SIZE, VMM_RANGE_RAM }, { { TV_RAM2 }, TV_AREA, VMM_RANGE_RAM }, { { TV_ROM }, TV_AREA, VMM_RANGE_ROM }, { { TV_DEV3 }, TV_AREA, VMM_RANGE_MMIO3 },
};

/* ---- hv_ops ---- */
static uint64_t get_cr(struct vcpu *v, enum hv_cr r) { return tv_cr[r]; }
static void set_cr(struct vcpu *v, enum hv_cr r, uint64_t val) { tv_cr[r] = val; }
static void get_seg(struct vcpu *v, enum hv_seg s, struct vmm_segment *out) { *out = tv_seg[s]; }
static void set_seg(struct vcpu *v, enum hv_seg s, const struct vmm_segment *in) { tv_seg[s] = *in; }
static void get_paging(struct vcpu *v, struct hv_paging *out)
{
	*out = (struct hv_paging){ tv_cr[HV_CR0], tv_cr[HV_CR3], tv_cr[HV_CR4], tv_cr[HV_EFER], tv_seg[HV_CS].base, tv_seg[HV_CS].attr };
}
static void clear_shadow(struct vcpu *v) { tv_shadow_cleared++; }
static const struct hv_ops ops = { .name = "test", .get_cr = get_cr, .set_cr = set_cr, .get_paging = get_paging, .get_seg = get_seg, .set_seg = set_seg, .clear_shadow = clear_shadow };
const struct hv_ops *hv = &ops;

/* ---- the rest of the kernel ---- */
uint64_t arch_xcr0_host(void) { return 7; }
size_t arch_fpu_size(void) { return 1024; }
void vcpu_raise_error(struct vcpu *v, uint8_t vector, uint32_t error)
{
	v->exception = (struct hv_event){ HV_EV_EXCEPTION, vector, true, error };
	v->exception_valid = true;
}
void vcpu_raise(struct vcpu *v, uint8_t vector)
{
	v->exception = (struct hv_event){ HV_EV_EXCEPTION, vector, false, 0 };
	v->exception_valid = true;
}
void vcpu_raise_pf(struct vcpu *v, uint64_t address, uint32_t error)
{
	tv_cr[HV_CR2] = address;
	vcpu_raise_error(v, 14, error);
}
void vcpu_stop(struct vcpu *v, const char *fmt, ...)
{
	va_list ap;

	tv_stops++;
	va_start(ap, fmt);
	vsnprintf(tv_stop_text, sizeof(tv_stop_text), fmt, ap);
	va_end(ap);
}
unsigned cpuid_guest_phys_bits(const struct vm *m) { return tv_phys_bits; }
void cpuid_answer(struct vcpu *v, uint32_t leaf, uint32_t sub, uint32_t out[4]) { out[0] = out[1] = out[2] = out[3] = 0xffffffff; }
enum backdoor_result backdoor_call(struct vcpu *v)
{
	tv_backdoor_calls++;
	if (tv_backdoor == BACKDOOR_DONE)
		v->gpr[3] = BACKDOOR_MAGIC;
	return tv_backdoor;
}

/* ---- guest memory ---- */
uint8_t *tv_memory(uint64_t a, uint64_t len)
{
	const struct { uint64_t base, size; uint8_t *p; } piece[] = {
		{ 0, TV_RAM_SIZE, tv_ram }, { TV_RAM2, TV_AREA, tv_ram2 }, { TV_ROM, TV_AREA, tv_rom },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(piece); i++)
		if (a >= piece[i].base && a < piece[i].base + piece[i].size && len <= piece[i].base + piece[i].size - a)
			return piece[i].p + (a - piece[i].base);
	return NULL;
}
const struct vm_range *vm_range_find(const struct vm *m, gpa_t a)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++)
		if (a.v >= ranges[i].base.v && a.v - ranges[i].base.v < ranges[i].size)
			return &ranges[i];
	return NULL;
}
static int copy(gpa_t a, void *buf, uint64_t len, bool write)
{
	uint8_t *p = tv_memory(a.v, len);

	if (!p)
		return -EFAULT;
	if (write)
		memcpy(p, buf, len);
	else
		memcpy(buf, p, len);
	return 0;
}
int gmem_read(struct vm *m, gpa_t a, void *buf, uint64_t len) { return copy(a, buf, len, false); }
int gmem_write(struct vm *m, gpa_t a, const void *buf, uint64_t len) { return copy(a, (void *)(uintptr_t)buf, len, true); }
void *gmem_get(struct vm *m, gpa_t a, bool write) { return tv_fast_fails ? NULL : tv_memory(a.v, 1); }
void gmem_put(const void *p) { (void)p; }
int gmem_cas(struct vm *m, gpa_t a, unsigned size, uint64_t old, uint64_t new_value)
{
	uint64_t cur = 0;
	uint8_t *p = tv_memory(a.v, size);

	if (!p)
		return -EFAULT;
	memcpy(&cur, p, size);
	if (tv_cas_fail) {
		tv_cas_fail--;
		return -EAGAIN;
	}
	if (cur != old)
		return -EAGAIN;
	memcpy(p, &new_value, size);
	return 0;
}
bool nested_lookup(struct vm *m, gpa_t a, bool write, hpa_t *out)
{
	if (tv_fast_fails || !tv_memory(a.v, 1))
		return false;
	*out = hpa(a.v & ~PAGE_MASK);
	return true;
}
void *window_get(hpa_t a) { return tv_memory(a.v, 1); }
void window_put(const void *p) { (void)p; }

/* ---- the bus: both devices are memory ---- */
enum bus_result bus_mmio(struct vcpu *v, gpa_t a, unsigned size, bool write, uint64_t *val)
{
	tv_bus_accesses++;
	if (size != 1 && size != 2 && size != 4 && size != 8)
		abort();
	if (a.v >= TV_DEV3 && a.v < TV_DEV3 + TV_AREA)
		return BUS_RING3;
	if (a.v >= TV_DEV0 && a.v < TV_DEV0 + TV_AREA) {
		if (write)
			memcpy(tv_dev0 + (a.v - TV_DEV0), val, size);
		else
			memcpy(val, tv_dev0 + (a.v - TV_DEV0), size);
	} else if (!write)
		*val = emul_mask(size);
	return BUS_DONE;
}
enum bus_result bus_port(struct vcpu *v, uint16_t port, unsigned size, bool in, uint32_t *val)
{
	if (port >= TV_PORT3 && port < TV_PORT3 + 0x100)
		return BUS_RING3;
	if (in)
		*val = port >= TV_PORT0 && port < TV_PORT3 ? tv_port_val++ & (uint32_t)emul_mask(size) : (uint32_t)emul_mask(size);
	else if (tv_out_n + size <= sizeof(tv_out)) {
		memcpy(tv_out + tv_out_n, val, size);
		tv_out_n += size;
	}
	return BUS_DONE;
}

static void answer_io(struct vmm_run *r)
{
	for (uint32_t i = 0; i < r->io.count; i++)
		if (r->io.in) {
			memcpy(r->io.data + i * r->io.size, &tv_port_val, r->io.size);
			tv_port_val++;
		} else if (tv_out_n + r->io.size <= sizeof(tv_out)) {
			memcpy(tv_out + tv_out_n, r->io.data + i * r->io.size, r->io.size);
			tv_out_n += r->io.size;
		}
}

static void answer(struct vmm_run *r)
{
	uint64_t at = r->mmio.gpa - TV_DEV3;

	if (tv_ring3_hook)
		tv_ring3_hook();
	if (r->exit == VMM_EXIT_IO) {
		answer_io(r);
	} else if (r->exit == VMM_EXIT_MMIO) {
		if (at >= TV_AREA)
			abort();
		if (r->mmio.write)
			memcpy(tv_dev3 + at, r->mmio.data, r->mmio.size);
		else {
			memset(r->mmio.data, 0x77, 8); /* what lies past the size is noise */
			memcpy(r->mmio.data, tv_dev3 + at, r->mmio.size);
		}
	} else if (r->exit == VMM_EXIT_RPC)
		r->rpc.gpr[0] = 0x12345678;
	else
		abort();
}

static void through_state(void)
{
	uint8_t buf[2048];
	struct state_out o = { .buf = buf, .cap = sizeof(buf) };
	struct state_in in;
	size_t pos = 0;

	emul_save(tv_vcpu, &o);
	memset(tv_vcpu->emul, 0xaa, sizeof(struct emul));
	if (o.overflow || !state_next(buf, o.len, &pos, &in) || in.tag != STATE_EMUL || emul_load(tv_vcpu, &in))
		abort();
}

enum emul_result tv_finish(enum emul_result r)
{
	for (unsigned n = 0; r == EMUL_RING3; n++) {
		if (n > 1000) /* a long REP: somebody wants the vCPU, and it must come out */
			tv_vcpu->request = VCPU_REQ_EVENT;
		if (n > 1050)
			abort();
		answer(tv_vcpu->run);
		through_state();
		r = emul_resume(tv_vcpu);
	}
	return r;
}

enum emul_result tv_mmio(uint64_t at, bool write)
{
	memset(&tv_vcpu->exit, 0, sizeof(tv_vcpu->exit));
	tv_vcpu->exit.kind = HV_EXIT_NESTED_FAULT;
	tv_vcpu->exit.mem.gpa = gpa(at);
	tv_vcpu->exit.mem.write = write;
	tv_vcpu->exit.mem.read = !write;
	return tv_finish(emul_mmio(tv_vcpu));
}

/* ---- set-up ---- */
#define TABLES 0x100000ull

static void identity_tables(void)
{
	uint64_t *t = (uint64_t *)(tv_ram + TABLES);

	memset(t, 0, 6 * PAGE_SIZE);
	t[0] = (TABLES + 0x1000) | 0x27;
	t[512] = (TABLES + 0x2000) | 0x27;
	t[513] = (TABLES + 0x3000) | 0x27;
	for (unsigned i = 0; i < 1024; i++)
		t[1024 + i] = (uint64_t)i << 21 | 0xe7;
}

void tv_cpl(unsigned cpl)
{
	tv_seg[HV_SS].attr = (uint16_t)((tv_seg[HV_SS].attr & ~0x60) | cpl << 5);
	tv_seg[HV_CS].attr = (uint16_t)((tv_seg[HV_CS].attr & ~0x60) | cpl << 5);
}

static void flat(uint16_t code_attr, uint16_t data_attr, uint32_t limit)
{
	for (unsigned i = 0; i < 6; i++)
		tv_seg[i] = (struct vmm_segment){ 0, limit, (uint16_t)(i == HV_CS ? 8 : 16), i == HV_CS ? code_attr : data_attr };
}

void tv_reset(void)
{
	struct vcpu *v = tv_vcpu;

	if (!v) {
		v = tv_vcpu = calloc(1, sizeof(*v));
		v->vm = &vm;
		v->run = calloc(1, sizeof(*v->run));
		v->fpu = aligned_alloc(64, 1024);
		memset(v->fpu, 0, 1024);
		tv_ram = calloc(1, TV_RAM_SIZE);
		tv_ram2 = calloc(1, TV_AREA);
		tv_rom = calloc(1, TV_AREA);
		tv_dev0 = calloc(1, TV_AREA);
		tv_dev3 = calloc(1, TV_AREA);
		if (emul_init(v))
			abort();
	}
	identity_tables();
	memset(v->gpr, 0, sizeof(v->gpr));
	memset(&v->exit, 0, sizeof(v->exit));
	memset(v->emul, 0, sizeof(struct emul));
	v->exception_valid = v->reinject_valid = false;
	v->request = 0;
	v->rip = TV_CODE;
	v->rflags = 2;
	tv_cr[HV_CR0] = CR0_PE | CR0_PG | CR0_WP | 0x30;
	tv_cr[HV_CR3] = TABLES;
	tv_cr[HV_CR4] = CR4_PAE;
	tv_cr[HV_EFER] = EFER_LMA | EFER_NXE | 0x101;
	flat(0xa9b, 0xc93, 0xffffffff);
	tv_seg[HV_LDTR] = (struct vmm_segment){ 0, 0, 0, 0 };
	tv_seg[HV_TR] = (struct vmm_segment){ 0, 0x67, 0x20, 0x8b };
	tv_fast_fails = false;
	tv_cas_fail = tv_stops = tv_bus_accesses = tv_shadow_cleared = tv_backdoor_calls = tv_out_n = 0;
	tv_stop_text[0] = 0;
	tv_ring3_hook = NULL;
}

void tv_mode(unsigned mode, bool protected_mode)
{
	tv_cr[HV_CR0] = 0x30 | (protected_mode ? CR0_PE : 0);
	tv_cr[HV_CR4] = tv_cr[HV_EFER] = 0;
	if (protected_mode)
		flat(mode == 4 ? 0xc9b : 0x09b, mode == 4 ? 0xc93 : 0x093, 0xffffffff);
	else
		flat(0x09b, 0x093, 0xffff);
}

void tv_code(const void *bytes, unsigned n) { memcpy(tv_ram + TV_CODE, bytes, n); }
