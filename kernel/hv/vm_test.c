/* SPDX-License-Identifier: Apache-2.0 */
/* VMs' life on a fake backend: admission and undo at every failure, ranges, states, pause, registers, interrupt routing, state and hostile state. */
#include "arch/host/arch_host.h"
#include "hv/fake_hv.h"
#include "test/unit.h"

extern long host_heap_fail_after;
static struct vmm_create config(unsigned vcpus)
{
	return (struct vmm_create){ .memory = MIB(64), .vcpus = vcpus, .hw_version = 20, .name = "test" };
}
static struct vm *fresh(unsigned vcpus)
{
	struct vmm_create c = config(vcpus);
	struct vmm_range ram = { 0, MIB(64), VMM_RANGE_RAM, 0 };
	struct vm *vm = NULL;

	host_clock_ns += 1000;
	CHECK_EQ(vm_create(&c, &vm), 0);
	CHECK_EQ(vm_add_range(vm, &ram), 0);
	return vm;
}
static void gone(struct vm *vm)
{
	vm_unref(vm);
	CHECK_EQ(fake_promised, 0);
	CHECK_EQ(fake_nested + fake_backends + fake_emuls, 0);
}

TEST(creation_refuses)
{
	struct vmm_create good = config(1), c;
	struct vm *vm;

	c = good, c.memory = MIB(2);
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.memory += 4096;
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.memory = ~0ull & ~(MIB(4) - 1);
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.vcpus = 0;
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.vcpus = 33;
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.flags = 2;
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.reserved[4] = 1;
	CHECK_EQ(vm_create(&c, &vm), -EINVAL);
	c = good, c.memory = GIB(4); /* its overhead does not fit */
	CHECK_EQ(vm_create(&c, &vm), -ENOMEM);
	c = good, c.memory = GIB(4) - MIB(8);
	CHECK_EQ(vm_create(&c, &vm), 0);
	gone(vm);
}

TEST(creation_undoes_at_every_failure)
{
	struct vmm_create c = config(3);
	struct vm *vm = NULL;
	long n = 0;
	int r;

	do {
		host_heap_fail_after = n++;
		r = vm_create(&c, &vm);
		if (r < 0) {
			CHECK_EQ(r, -ENOMEM);
			CHECK_EQ(fake_promised + fake_nested + fake_backends + fake_emuls, 0);
		}
	} while (r < 0 && n < 1000);
	host_heap_fail_after = -1;
	CHECK(n > 20);
	CHECK_EQ(vm->id, 0);
	gone(vm);
}

TEST(ranges)
{
	struct vm *vm = fresh(1);
	struct vmm_range r = { MIB(64), MIB(2), VMM_RANGE_RAM, 0 };

	CHECK_EQ(vm_add_range(vm, &r), -ENOMEM);
	r = (struct vmm_range){ MIB(62), 4096, VMM_RANGE_MMIO3, 0 };
	CHECK_EQ(vm_add_range(vm, &r), -EEXIST);
	r = (struct vmm_range){ 0xa0000, 0x20000, VMM_RANGE_MMIO3, 0 };
	CHECK(!vm_range_find(vm, gpa(0xa0000)));
	CHECK_EQ(vm_add_range(vm, &r), 0);
	CHECK_EQ(vm_range_find(vm, gpa(0xbffff))->kind, VMM_RANGE_MMIO3);
	CHECK_EQ(vm_range_find(vm, gpa(0xc0000))->kind, VMM_RANGE_RAM);
	CHECK_EQ(vm_range_find(vm, gpa(0x9ffff))->kind, VMM_RANGE_RAM);
	r = (struct vmm_range){ 0xfee00000, 4096, VMM_RANGE_MMIO3, 0 };
	CHECK_EQ(vm_add_range(vm, &r), -EINVAL);
	r = (struct vmm_range){ ~0ull - 4095, 4096, VMM_RANGE_MMIO3, 0 };
	CHECK_EQ(vm_add_range(vm, &r), -EINVAL);
	r = (struct vmm_range){ 0xfffc0000, 0x40000, VMM_RANGE_ROM, 0 };
	CHECK_EQ(vm_add_range(vm, &r), 0);
	r = (struct vmm_range){ 0xe0000000, 0x1000, VMM_RANGE_MMIO3, 0 };
	CHECK_EQ(vm_add_range(vm, &r), 0);
	for (unsigned i = 1; i < vm->nr_ranges; i++)
		CHECK(vm->range[i - 1].base.v <= vm->range[i].base.v);
	CHECK_EQ(vm_range_find(vm, gpa(0xfffffff0))->kind, VMM_RANGE_ROM);
	CHECK(!vm_range_find(vm, gpa(MIB(64))));
	for (unsigned i = 0; i < 20; i++) {
		int want = vm->nr_ranges < VM_MAX_RANGES ? 0 : -ENOSPC;

		r.gpa += 0x1000;
		CHECK_EQ(vm_add_range(vm, &r), want);
	}
	gone(vm);
}

TEST(ports)
{
	struct vm *vm = fresh(1);
	struct vmm_ports p = { 0xffff, 1, 0 };

	CHECK_EQ(vm_claim_ports(vm, &p), 0);
	p.count = 2;
	CHECK_EQ(vm_claim_ports(vm, &p), -EINVAL);
	CHECK_EQ(vcpu_enter(vm->vcpu[0]), 0);
	p.count = 1;
	CHECK_EQ(vm_claim_ports(vm, &p), -EBUSY);
	vcpu_leave(vm->vcpu[0]);
	gone(vm);
}

TEST(states_and_pause)
{
	struct vm *vm = fresh(2);
	struct vcpu *v = vm->vcpu[0];

	CHECK_EQ(vm_set_state(vm, VMM_PAUSED), -EINVAL);
	CHECK_EQ(vm_reset(vm), -EBUSY);
	CHECK_EQ(vcpu_enter(v), 0);
	CHECK_EQ(vm->state, VMM_RUNNING);
	CHECK_EQ(vcpu_enter(v), -EBUSY);
	CHECK(current->group == &vm->group);
	vcpu_leave(v);
	CHECK_EQ(vm_pause(vm), 0);
	CHECK_EQ(vm_pause(vm), 0);
	CHECK_EQ(vm->state, VMM_PAUSED);
	CHECK_EQ(vcpu_enter(v), -EINTR);
	vm_resume(vm);
	CHECK_EQ(vcpu_enter(v), -EINTR);
	CHECK_EQ(vm_set_state(vm, VMM_STOPPED), 0);
	v->stopped = true;
	CHECK_EQ(vm_reset(vm), 0);
	CHECK(vm->state == VMM_PAUSED && !v->stopped);
	vm_resume(vm);
	vm_resume(vm); /* one too many */
	CHECK_EQ(vm->state, VMM_RUNNING);
	CHECK_EQ(vcpu_enter(v), 0);
	vcpu_leave(v);
	gone(vm);
	CHECK(current->group == NULL);
}

TEST(registers)
{
	struct vm *vm = fresh(1);
	struct vcpu *v = vm->vcpu[0];
	struct vmm_regs good = { .rip = 0x1000000, .rflags = 2, .cr0 = 0x80000011, .cr3 = 0x9000, .cr4 = 0x20, .efer = 0x500, .dr6 = 0xffff0ff0, .dr7 = 0x400 }, r;

	good.cs = (struct vmm_segment){ 0, ~0u, 8, 0xa9b };
	CHECK_EQ(v->gpr[2], 0x60fb1);
	CHECK_EQ(v->rip, 0xfff0);
	CHECK_EQ(vcpu_set_regs(v, &good), 0);
	CHECK_EQ(vcpu_get_regs(v, &r), 0);
	CHECK(r.efer == 0x500 && r.rip == 0x1000000 && r.cs.attr == 0xa9b);
#define REFUSED(change) do { r = good; r.change; CHECK_EQ(vcpu_set_regs(v, &r), -EINVAL); } while (0)
	REFUSED(cr0 = 0x80000010);
	REFUSED(cr0 |= 1ull << 32);
	REFUSED(cr0 = 0x20000011);
	REFUSED(cr4 = 0);
	REFUSED(cr4 |= 1 << 22);
	REFUSED(efer |= 1 << 12);
	REFUSED(cr3 = 1ull << 40);
	REFUSED(rip = 1ull << 47);
	REFUSED(cs.attr |= 0x400);
	REFUSED(gs.base = 1ull << 47);
	REFUSED(ds.base = 1ull << 32);
	REFUSED(idtr.limit = 0x10000);
	REFUSED(rflags = 1ull << 22);
	REFUSED(dr7 = 1ull << 32);
	REFUSED(fs.attr = 0x1000);
	CHECK_EQ(v->rip, 0x1000000);
	gone(vm);
}

static int taken(struct vcpu *v) { return irq_pending(v) ? irq_ack(v) : -1; }
static void apic_on(struct vcpu *v) { lapic_mmio_write(v->lapic, 0xf0, 0x1ff); }

TEST(routing)
{
	struct vm *vm = fresh(3);
	struct vcpu *a = vm->vcpu[0], *b = vm->vcpu[1], *c = vm->vcpu[2];

	/* virtual wire: the PIC reaches the boot CPU */
	for (unsigned i = 0; i < 4; i++)
		pic_port_write(vm->pic, i ? 0x21 : 0x20, (uint8_t[]){ 0x11, 0x20, 4, 1 }[i]);
	pic_port_write(vm->pic, 0x21, 0);
	CHECK_EQ(irq_set_gsi(vm, 4, true), 0);
	CHECK(a->request & VCPU_REQ_EVENT);
	CHECK_EQ(taken(b), -1);
	CHECK_EQ(taken(a), 0x24);
	CHECK_EQ(irq_set_gsi(vm, 24, true), -EINVAL);
	CHECK_EQ(irq_set_gsi(vm, 2, true), -EINVAL);
	apic_on(a), apic_on(b), apic_on(c);
	CHECK_EQ(irq_msi(vm, 0xfee01000, 0x4051), 0);
	CHECK_EQ(taken(b), 0x51);
	CHECK_EQ(irq_msi(vm, 0xfed01000, 0x51), -EINVAL);
	CHECK_EQ(irq_msi(vm, 0xfeeff000, 0x52), 0);
	CHECK(taken(a) == 0x52 && taken(c) == 0x52);
	/* the busy ones are spared: 0x52 is in service on a and c */
	lapic_mmio_write(b->lapic, 0xb0, 0);
	irq_deliver(vm, &(struct apic_msg){ .dest = 0xff, .vector = 0x60, .delivery = APIC_LOWEST }, NULL);
	CHECK(!irq_pending(a) && !irq_pending(c) && taken(b) == 0x60);
	irq_deliver(vm, &(struct apic_msg){ .dest = 1, .delivery = APIC_NMI }, NULL);
	irq_deliver(vm, &(struct apic_msg){ .dest = 1, .delivery = APIC_NMI }, NULL);
	irq_deliver(vm, &(struct apic_msg){ .dest = 1, .delivery = APIC_NMI }, NULL);
	CHECK_EQ(b->nmi_pending, 2);
	/* start of the second CPU */
	CHECK_EQ(b->activity, VCPU_WAIT_SIPI);
	lapic_mmio_write(a->lapic, 0x310, 1 << 24);
	lapic_mmio_write(a->lapic, 0x300, 0x4500);
	CHECK(b->request & VCPU_REQ_INIT);
	lapic_mmio_write(a->lapic, 0x300, 0x4609);
	CHECK(b->request & VCPU_REQ_SIPI && b->sipi_vector == 9 && !(c->request & VCPU_REQ_SIPI));
	vcpu_reset(b, true);
	vcpu_start_sipi(b, 9);
	CHECK(b->activity == VCPU_ACTIVE && b->rip == 0);
	gone(vm);
}

TEST(guest_time)
{
	struct vm *vm = fresh(1);
	uint64_t now = vm_guest_ns(vm);

	host_run_until(host_clock_ns + 5000);
	CHECK_EQ(vm_guest_ns(vm), now + 5000);
	CHECK_EQ(vm_guest_ns_to_host(vm, vm_guest_ns(vm) + 100), host_clock_ns + 101);
	CHECK_EQ(vm_guest_ns_to_host(vm, 0), host_clock_ns);
	CHECK_EQ(vm_guest_ns_to_host(vm, UINT64_MAX), UINT64_MAX);
	gone(vm);
}

/* ---- state ---- */
static size_t save(struct vm *vm, uint8_t *buf, size_t cap)
{
	struct state_out o = { .buf = buf, .cap = cap };

	CHECK_EQ(vm_save(vm, &o), 0);
	CHECK(!o.overflow);
	return o.len;
}
#define CAP 65536
static uint8_t first[CAP], second[CAP];

static uint64_t seed = 88172645463325252ull;
static uint32_t rnd(uint32_t n) { return seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17, (uint32_t)(seed >> 16) % n; }

static void stir(struct vm *vm)
{
	for (unsigned i = 0; i < vm->config.vcpus; i++) {
		struct vcpu *v = vm->vcpu[i];

		for (unsigned k = 0; k < 16; k++)
			v->gpr[k] = rnd(~0u);
		((uint8_t *)v->fpu)[rnd(16) + 32] = (uint8_t)rnd(256);
		v->answer_pending = rnd(2);
		v->run->io.port = (uint16_t)rnd(65536);
		hv->set_cr(v, HV_CR3, rnd(~0u));
		lapic_accept(v->lapic, (uint8_t)rnd(256), rnd(2));
		lapic_mmio_write(v->lapic, 0x380, rnd(1000000));
	}
	irq_set_gsi(vm, 3 + rnd(20), rnd(2));
	pit_port_write(vm->pit, 0x43, 0x34);
	pit_port_write(vm->pit, 0x40, (uint8_t)rnd(256));
	pit_port_write(vm->pit, 0x40, (uint8_t)rnd(256));
}

TEST(save_rebuild_load)
{
	struct vm *vm = fresh(4);
	size_t a, b;

	CHECK_EQ(vm_save(vm, &(struct state_out){ .buf = NULL }), -EBUSY);
	CHECK_EQ(vcpu_enter(vm->vcpu[0]), 0);
	vcpu_leave(vm->vcpu[0]);
	for (unsigned i = 0; i < 4; i++)
		apic_on(vm->vcpu[i]);
	vm->vcpu[2]->tsc_offset += 12345678; /* a guest that set one clock apart */
	hv->set_tsc_offset(vm->vcpu[2]);
	for (int round = 0; round < 300; round++) {
		uint64_t tsc[4];

		stir(vm);
		host_run_until(host_clock_ns + rnd(2000000));
		CHECK_EQ(vm_pause(vm), 0);
		a = save(vm, first, CAP);
		for (unsigned i = 0; i < 4; i++)
			tsc[i] = fake_guest_tsc(vm->vcpu[i]);
		CHECK_EQ(vm_rebuild(vm, round % 10 == 9), 0);
		host_clock_ns += rnd(1000000); /* the host's time that this takes is not the guest's */
		CHECK_EQ(vm_load(vm, first, a), 0);
		for (unsigned i = 0; i < 4; i++)
			CHECK(fake_guest_tsc(vm->vcpu[i]) == tsc[i] && vcpu_guest_tsc(vm->vcpu[i]) == tsc[i]);
		b = save(vm, second, CAP);
		CHECK(a == b && !memcmp(first, second, a));
		vm_resume(vm);
	}
	gone(vm);
}

TEST(state_of_another_machine)
{
	struct vm *vm = fresh(2), *other = fresh(1);
	size_t n, before;

	vm_pause(vm), vm_pause(other);
	n = save(vm, first, CAP);
	CHECK_EQ(vm_load(other, first, n), -EINVAL);
	CHECK_EQ(vm_load(vm, first, n - 8), -EINVAL);
	before = save(vm, second, CAP);
	CHECK(before == n && !memcmp(first, second, n));
	memset(first + n, 0, 16);
	CHECK_EQ(vm_load(vm, first, n + 16), -EINVAL);
	CHECK_EQ(vm_load(vm, first, 0), -EINVAL);
	CHECK_EQ(vm_load(vm, first, n), 0);
	vm_unref(other);
	gone(vm);
}

TEST(hostile_state_changes_nothing)
{
	struct vm *vm = fresh(2);
	size_t n, before;
	unsigned refused = 0;
	static uint8_t bad[CAP];

	stir(vm);
	vm_pause(vm);
	for (int i = 0; i < 3000; i++) {
		n = save(vm, first, CAP);
		memcpy(bad, first, n);
		for (unsigned k = 1 + rnd(3); k; k--)
			bad[rnd((uint32_t)n)] ^= (uint8_t)BIT(rnd(8));
		if (vm_load(vm, bad, rnd(10) ? n : rnd((uint32_t)n)) < 0) {
			refused++;
			before = save(vm, second, CAP);
			CHECK(before == n && !memcmp(first, second, n));
		}
		CHECK(!vm->broken);
	}
	CHECK(refused > 500);
	vm_resume(vm);
	host_run_until(host_clock_ns + 1000000);
	gone(vm);
}

TEST(rebuild_that_fails_leaves_only_the_end)
{
	for (long at = 0; at < 40; at++) {
		struct vm *vm = fresh(2);
		int r;

		vm_pause(vm);
		host_heap_fail_after = at;
		r = vm_rebuild(vm, true);
		host_heap_fail_after = -1;
		if (r < 0) {
			CHECK(vm->broken);
			CHECK_EQ(vm_save(vm, &(struct state_out){ .buf = NULL }), -EIO);
			CHECK_EQ(vm_reset(vm), -EIO);
			vm_resume(vm);
			CHECK_EQ(vm_pause(vm), -EIO);
		}
		gone(vm);
	}
}
