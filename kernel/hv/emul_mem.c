/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an emulated access goes: RAM through gmem, devices through the bus, with the log that makes an instruction repeatable
 * after ring 3 has answered (emul_priv.h). Writes to ROM are dropped; where nothing is, the bus answers all ones.
 *
 * A device access is cut into powers of two that do not cross eight bytes, as a 64-bit bus would.
 */
#include "hv/emul_priv.h"

enum emul_step emul_translate(struct vcpu *v, uint64_t linear, unsigned walk, gpa_t *out)
{
	uint32_t error;

	if (likely(emul_walk(v, linear, walk, out, &error) == WALK_OK))
		return STEP_OK;
	vcpu_raise_pf(v, linear, error);
	return STEP_FAULT;
}

static void ask_ring3(struct vcpu *v, gpa_t at, unsigned size, bool write, uint64_t val)
{
	v->run->exit = VMM_EXIT_MMIO;
	v->run->mmio.gpa = at.v;
	v->run->mmio.size = (uint8_t)size;
	v->run->mmio.write = write;
	__builtin_memcpy(v->run->mmio.data, &val, 8);
	EMUL_OF(v)->cont = CONT_INSN;
}

/* One piece: from the log if this instruction did it before, else on the bus. */
static enum emul_step device_piece(struct vcpu *v, gpa_t at, unsigned size, bool write, uint64_t *val)
{
	struct emul *e = EMUL_OF(v);
	struct emul_access *a = &e->log[e->pos];
	enum bus_result r;

	if (unlikely(e->pos == EMUL_LOG)) {
		vcpu_stop(v, "emulation: an instruction with more than %d device accesses", EMUL_LOG);
		return STEP_FAIL;
	}
	if (e->pos < e->nr) {
		if (a->gpa.v == at.v && a->size == size && a->write == write) {
			if (!write)
				*val = a->val;
			e->pos++;
			return STEP_OK;
		}
		e->nr = e->pos; /* the guest changed its mappings meanwhile: what follows happens for the first time */
	}
	r = bus_mmio(v, at, size, write, val);
	a->gpa = at;
	a->size = (uint8_t)size;
	a->write = write;
	a->val = *val;
	e->pos = e->nr = e->pos + 1;
	if (likely(r == BUS_DONE))
		return STEP_OK;
	ask_ring3(v, at, size, write, *val);
	return STEP_RING3;
}

enum emul_step emul_device_once(struct vcpu *v, gpa_t at, unsigned size, bool write, uint64_t *val)
{
	struct emul *e = EMUL_OF(v);

	if (likely(bus_mmio(v, at, size, write, val) == BUS_DONE))
		return STEP_OK;
	e->log[0] = (struct emul_access){ .gpa = at, .val = *val, .size = (uint8_t)size, .write = write };
	e->pos = e->nr = 1;
	ask_ring3(v, at, size, write, *val);
	return STEP_RING3;
}

static enum emul_step device_access(struct vcpu *v, gpa_t at, uint8_t *buf, unsigned size, bool write)
{
	while (size) {
		unsigned part = 8 - (unsigned)(at.v & 7);
		enum emul_step s;
		uint64_t val = 0;

		if (part > size)
			part = size;
		part = 1u << (31 - __builtin_clz(part));
		if (write)
			memcpy(&val, buf, part);
		s = device_piece(v, at, part, write, &val);
		if (unlikely(s != STEP_OK))
			return s;
		if (!write)
			memcpy(buf, &val, part);
		at = gpa_add(at, part);
		buf += part;
		size -= part;
	}
	return STEP_OK;
}

/* Within one page. */
enum emul_step emul_access_at(struct vcpu *v, gpa_t at, void *buf, unsigned size, bool write)
{
	const struct vm_range *r = vm_range_find(v->vm, at);

	if (r && r->kind != VMM_RANGE_MMIO3) {
		if (write && r->kind == VMM_RANGE_ROM)
			return STEP_OK;
		if ((write ? gmem_write(v->vm, at, buf, size) : gmem_read(v->vm, at, buf, size)) == 0)
			return STEP_OK;
	}
	return device_access(v, at, buf, size, write);
}

/* Outside 64-bit mode linear addresses wrap at 4 GiB. */
static inline uint64_t next_linear(struct vcpu *v, uint64_t linear, unsigned n)
{
	uint64_t next = linear + n;

	if (unlikely((linear ^ next) >> 32) && emul_mode(v) != 8)
		next = (uint32_t)next;
	return next;
}

enum emul_step emul_access(struct vcpu *v, uint64_t linear, void *buf, unsigned size, unsigned walk)
{
	unsigned first = (unsigned)MIN(size, PAGE_SIZE - (linear & PAGE_MASK));
	bool write = (walk & (WALK_WRITE | WALK_READS)) == WALK_WRITE;
	enum emul_step s;
	gpa_t at[2];

	/* Both pages are looked at before anything happens to either. */
	s = emul_translate(v, linear, walk, &at[0]);
	if (s == STEP_OK && unlikely(first < size))
		s = emul_translate(v, next_linear(v, linear, first), walk, &at[1]);
	if (s == STEP_OK)
		s = emul_access_at(v, at[0], buf, first, write);
	if (s == STEP_OK && unlikely(first < size))
		s = emul_access_at(v, at[1], (uint8_t *)buf + first, size - first, write);
	return s;
}

enum emul_step emul_write_back(struct vcpu *v, uint64_t linear, uint64_t old, uint64_t new_value, unsigned size, unsigned walk)
{
	const struct vm_range *r;
	enum emul_step s;
	gpa_t at;
	int err;

	if (linear & (size - 1)) /* not atomic: only an operand that also needs a device comes here unaligned */
		return emul_access(v, linear, &new_value, size, walk);
	s = emul_translate(v, linear, walk, &at);
	if (s != STEP_OK)
		return s;
	r = vm_range_find(v->vm, at);
	if (!r || r->kind != VMM_RANGE_RAM)
		return emul_access_at(v, at, &new_value, size, true);
	err = gmem_cas(v->vm, at, size, old, new_value);
	if (err == -EAGAIN)
		return STEP_RETRY;
	return err ? emul_access_at(v, at, &new_value, size, true) : STEP_OK;
}

int emul_copy_linear(struct vcpu *v, uint64_t linear, void *buf, unsigned n, unsigned walk)
{
	uint8_t *p = buf;

	while (n) {
		unsigned part = (unsigned)MIN(n, PAGE_SIZE - (linear & PAGE_MASK));
		gpa_t at;

		if (emul_translate(v, linear, walk, &at) != STEP_OK)
			return -EFAULT;
		if (walk & WALK_WRITE ? gmem_write(v->vm, at, p, part) : gmem_read(v->vm, at, p, part))
			return -EIO;
		p += part;
		n -= part;
		linear = next_linear(v, linear, part);
	}
	return 0;
}

static int copy_virtual(struct vcpu *v, enum hv_seg seg, uint64_t offset, void *buf, unsigned n, unsigned walk)
{
	uint64_t linear;

	if (!n)
		return 0;
	if (!emul_linear(v, emul_mode(v), seg, offset, n, walk & WALK_WRITE, &linear))
		return -EFAULT;
	return emul_copy_linear(v, linear, buf, n, walk | (emul_cpl(v) == 3 ? WALK_USER : 0));
}

int emul_read_virtual(struct vcpu *v, enum hv_seg seg, uint64_t offset, void *buf, unsigned n)
{
	return copy_virtual(v, seg, offset, buf, n, 0);
}

int emul_write_virtual(struct vcpu *v, enum hv_seg seg, uint64_t offset, const void *buf, unsigned n)
{
	return copy_virtual(v, seg, offset, (void *)(uintptr_t)buf, n, WALK_WRITE);
}

unsigned emul_fetch(struct vcpu *v, uint8_t buf[15], unsigned n)
{
	unsigned walk = WALK_EXEC | (emul_cpl(v) == 3 ? WALK_USER : 0), done = 0;
	uint64_t linear = v->rip;
	struct vmm_segment cs;

	if (emul_mode(v) == 8) {
		if (!emul_canonical(v, linear)) {
			emul_raise(v, EXC_GP, 0);
			return 0;
		}
	} else {
		hv->get_seg(v, HV_CS, &cs);
		if (v->rip > cs.limit) {
			emul_raise(v, EXC_GP, 0);
			return 0;
		}
		n = (unsigned)MIN((uint64_t)n, (uint64_t)cs.limit - v->rip + 1);
		linear = (uint32_t)(cs.base + linear);
	}
	while (done < n) {
		unsigned part = (unsigned)MIN(n - done, PAGE_SIZE - (linear & PAGE_MASK));
		uint32_t error;
		gpa_t at;

		if (emul_walk(v, linear, walk, &at, &error) != WALK_OK) {
			if (!done)
				vcpu_raise_pf(v, linear, error);
			break;
		}
		if (gmem_read(v->vm, at, buf + done, part))
			break;
		done += part;
		linear = next_linear(v, linear, part);
	}
	return done;
}
