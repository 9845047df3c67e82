/* SPDX-License-Identifier: Apache-2.0 */
/* Port I/O, lengths of simple instructions, skipping, the backdoor. */
#include "hv/emul_test_vm.h"
#include "test/unit.h"

static void port_exit(uint16_t port, unsigned size, bool in, bool string, unsigned len)
{
	memset(&tv_vcpu->exit, 0, sizeof(tv_vcpu->exit));
	tv_vcpu->exit.kind = HV_EXIT_IO;
	tv_vcpu->exit.io.port = port;
	tv_vcpu->exit.io.size = (uint8_t)size;
	tv_vcpu->exit.io.in = in;
	tv_vcpu->exit.io.string = string;
	tv_vcpu->exit.insn_len = (uint8_t)len;
}

TEST(in_and_out)
{
	static const uint16_t ports[] = { TV_PORT0, TV_PORT3 };

	for (unsigned i = 0; i < 2; i++)
		for (unsigned size = 1; size <= 4; size *= 2) {
			uint64_t mask = emul_mask(size), keep = size == 4 ? 0 : ~mask;

			tv_reset();
			tv_vcpu->gpr[0] = 0x1122334455667788ull;
			tv_port_val = 0xa1b2c3d4;
			port_exit(ports[i], size, true, false, 1);
			CHECK_EQ(tv_finish(emul_io(tv_vcpu)), EMUL_DONE);
			CHECK_EQ(tv_vcpu->gpr[0], (0x1122334455667788ull & keep) | (0xa1b2c3d4 & mask));
			CHECK_EQ(tv_vcpu->rip, TV_CODE + 1);
			CHECK_EQ(tv_shadow_cleared, 1);
			port_exit(ports[i], size, false, false, 2);
			CHECK_EQ(tv_finish(emul_io(tv_vcpu)), EMUL_DONE);
			CHECK_EQ(tv_out_n, size);
			CHECK(!memcmp(tv_out, &tv_vcpu->gpr[0], size));
			CHECK_EQ(tv_vcpu->rip, TV_CODE + 3);
		}
	tv_reset(); /* length unknown: decoded */
	tv_code("\x66\xed", 2);
	port_exit(TV_PORT0, 2, true, false, 0);
	CHECK_EQ(tv_finish(emul_io(tv_vcpu)), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 2);
}

static unsigned asked;
static void count_asked(void) { asked++; }

static void run_string(const void *insn, unsigned n, uint16_t port, unsigned size, bool in)
{
	tv_code(insn, n);
	for (unsigned i = 0; i < 200 && tv_vcpu->rip == TV_CODE && !tv_vcpu->exception_valid; i++) {
		port_exit(port, size, in, true, n);
		CHECK_EQ(tv_finish(emul_io(tv_vcpu)), EMUL_DONE);
	}
}

TEST(string_io)
{
	static const uint16_t ports[] = { TV_PORT0, TV_PORT3 };

	for (unsigned i = 0; i < 2; i++) {
		tv_reset();
		asked = 0;
		tv_ring3_hook = count_asked;
		for (unsigned k = 0; k < 3000; k++)
			tv_ram2[k] = (uint8_t)(k * 7);
		tv_vcpu->gpr[6] = TV_RAM2 + 3;
		tv_vcpu->gpr[1] = 1400;
		run_string("\xf3\x66\x6f", 3, ports[i], 2, false); /* rep outsw */
		CHECK_EQ(tv_vcpu->rip, TV_CODE + 3);
		CHECK_EQ(tv_vcpu->gpr[1], 0);
		CHECK_EQ(tv_vcpu->gpr[6], TV_RAM2 + 3 + 2800);
		CHECK_EQ(tv_out_n, 2800);
		CHECK(!memcmp(tv_out, tv_ram2 + 3, 2800));
		CHECK_EQ(asked, i ? 3 : 0); /* chunks of 1024 bytes */
		/* insd across a page, upwards; then insb downwards */
		tv_vcpu->rip = TV_CODE;
		tv_port_val = 0x1000;
		tv_vcpu->gpr[7] = TV_RAM2 + 0xff0 + 2;
		tv_vcpu->gpr[1] = 8;
		run_string("\xf3\x6d", 2, ports[i], 4, true);
		CHECK_EQ(tv_vcpu->gpr[7], TV_RAM2 + 0xff2 + 32);
		for (uint32_t k = 0; k < 8; k++) {
			uint32_t want = 0x1000 + k;

			CHECK(!memcmp(tv_ram2 + 0xff2 + 4 * k, &want, 4));
		}
		tv_vcpu->rip = TV_CODE;
		tv_port_val = 1;
		tv_vcpu->rflags |= FLAG_DF;
		tv_vcpu->gpr[7] = TV_RAM2 + 9;
		tv_vcpu->gpr[1] = 5;
		run_string("\xf2\x6c", 2, ports[i], 1, true);
		CHECK_EQ(tv_vcpu->gpr[7], TV_RAM2 + 4);
		for (unsigned k = 0; k < 5; k++)
			CHECK_EQ(tv_ram2[9 - k], 1 + k);
	}
}

TEST(string_io_faults)
{
	/* A destination that cannot be written is found before the port is read. */
	tv_reset();
	((uint64_t *)(tv_ram + 0x103000))[256] &= ~2ull; /* 0x60000000 read-only */
	tv_vcpu->gpr[7] = TV_RAM2;
	tv_vcpu->gpr[1] = 4;
	tv_port_val = 7;
	run_string("\xf3\x6c", 2, TV_PORT0, 1, true);
	CHECK(tv_vcpu->exception_valid && tv_vcpu->exception.vector == EXC_PF && tv_vcpu->exception.error == 3);
	CHECK_EQ(tv_port_val, 7);
	CHECK_EQ(tv_vcpu->gpr[1], 4);
	/* 16-bit addresses: only CX and SI move, the chunk ends at the segment's end. */
	tv_reset();
	tv_mode(2, false);
	tv_vcpu->gpr[6] = 0xabcd0000 | 0xfff0;
	tv_vcpu->gpr[1] = 0x12340020;
	tv_seg[HV_DS].limit = 0xffff;
	run_string("\xf3\x6e", 2, TV_PORT3, 1, false);
	CHECK_EQ(tv_vcpu->gpr[6], 0xabcd0010);
	CHECK_EQ(tv_vcpu->gpr[1], 0x12340000);
	CHECK_EQ(tv_out_n, 0x20);
	tv_reset();
	tv_mode(2, false);
	tv_seg[HV_ES].limit = 0xfff;
	tv_vcpu->gpr[7] = 0xff8;
	tv_vcpu->gpr[1] = 0x20;
	run_string("\xf3\x6c", 2, TV_PORT3, 1, true);
	CHECK(tv_vcpu->exception_valid && tv_vcpu->exception.vector == EXC_GP && !tv_vcpu->exception.has_error);
	CHECK_EQ(tv_vcpu->gpr[7], 0x1000);
	CHECK_EQ(tv_vcpu->gpr[1], 0x18);
	/* ROM keeps its bytes; a device's memory is refused. */
	tv_reset();
	tv_rom[0] = 0x42;
	tv_vcpu->gpr[7] = TV_ROM;
	run_string("\x6c", 1, TV_PORT3, 1, true);
	CHECK_EQ(tv_rom[0], 0x42);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 1);
	tv_reset();
	tv_vcpu->gpr[7] = TV_DEV0;
	tv_code("\x6c", 1);
	port_exit(TV_PORT0, 1, true, true, 1);
	CHECK_EQ(emul_io(tv_vcpu), EMUL_FAIL);
	CHECK_EQ(tv_stops, 1);
}

TEST(lengths)
{
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x0f\xa2", 2, HV_EXIT_CPUID), 2);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x48\x0f\xa2", 3, HV_EXIT_CPUID), 3);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x0f", 1, HV_EXIT_CPUID), 0);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x0f\x32", 2, HV_EXIT_CPUID), 0);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x0f\x32", 2, HV_EXIT_RDMSR), 2);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x66\x67\x0f\x30", 4, HV_EXIT_WRMSR), 4);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x0f\x01\xd9", 3, HV_EXIT_HYPERCALL), 3);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x0f\x01\xd1", 3, HV_EXIT_XSETBV), 3);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\xf4", 1, HV_EXIT_HLT), 1);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\xf3\x90", 2, HV_EXIT_PAUSE), 2);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x90", 1, HV_EXIT_PAUSE), 0);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\xf3\x0f\x09", 3, HV_EXIT_CACHE), 3);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x44\x0f\x22\xc0", 4, HV_EXIT_CR_ACCESS), 4);
	CHECK_EQ(emul_simple_length((const uint8_t *)"\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f", 15, HV_EXIT_CPUID), 0);
}

TEST(skip)
{
	tv_reset();
	tv_code("\x0f\xa2", 2);
	tv_vcpu->exit.kind = HV_EXIT_CPUID;
	tv_vcpu->rflags |= FLAG_RF;
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 2);
	CHECK(!(tv_vcpu->rflags & FLAG_RF) && !tv_vcpu->exception_valid && tv_shadow_cleared == 1);
	tv_vcpu->rflags |= FLAG_TF;
	tv_vcpu->exit.insn_len = 2;
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_DONE);
	CHECK(tv_vcpu->exception_valid && tv_vcpu->exception.vector == EXC_DB && (tv_cr[HV_DR6] & DR6_BS));
	tv_reset();
	tv_fast_fails = true;
	tv_code("\x0f\xa2", 2);
	tv_vcpu->exit.kind = HV_EXIT_CPUID;
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 2);
	tv_code("\x0f\xa3\xa3", 3);
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_FAIL);
	/* RIP wraps at the width of the code segment. */
	tv_reset();
	tv_mode(2, false);
	tv_vcpu->rip = 0xffff;
	tv_vcpu->exit.insn_len = 2;
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, 1);
	tv_mode(4, true);
	tv_vcpu->rip = 0xffffffff;
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, 1);
	tv_reset();
	tv_vcpu->rip = 0xffffffff;
	tv_vcpu->exit.insn_len = 2;
	CHECK_EQ(emul_skip(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_vcpu->rip, 0x100000001ll);
}

TEST(backdoor)
{
	enum emul_result r = EMUL_FAIL;

	tv_reset();
	tv_vcpu->gpr[0] = BACKDOOR_MAGIC;
	tv_vcpu->gpr[2] = BACKDOOR_PORT;
	tv_backdoor = BACKDOOR_DONE;
	port_exit(BACKDOOR_PORT, 4, true, false, 1);
	CHECK_EQ(emul_io(tv_vcpu), EMUL_DONE);
	CHECK_EQ(tv_backdoor_calls, 1);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 1);
	/* From ring 3, by way of #GP; a call that ring 3 of the host answers. */
	tv_vcpu->rip = TV_CODE;
	tv_cpl(3);
	tv_backdoor = BACKDOOR_RING3;
	tv_code("\xed", 1);
	CHECK(emul_backdoor_gp(tv_vcpu, &r));
	CHECK_EQ(tv_finish(r), EMUL_DONE);
	CHECK_EQ(tv_vcpu->gpr[0], 0x12345678);
	CHECK_EQ(tv_vcpu->rip, TV_CODE + 1);
	/* Not the magic, not the port, not the instruction: somebody else's #GP. */
	tv_vcpu->rip = TV_CODE;
	CHECK(!emul_backdoor_gp(tv_vcpu, &r));
	tv_vcpu->gpr[0] = BACKDOOR_MAGIC;
	tv_vcpu->gpr[2] = 0x60;
	CHECK(!emul_backdoor_gp(tv_vcpu, &r));
	tv_vcpu->gpr[2] = BACKDOOR_PORT;
	tv_code("\xf4", 1);
	CHECK(!emul_backdoor_gp(tv_vcpu, &r));
	tv_code("\x66\xed", 2);
	CHECK(!emul_backdoor_gp(tv_vcpu, &r));
	/* rep insb on the high-bandwidth port: a port where nobody is. */
	tv_code("\xf3\x6c", 2);
	tv_vcpu->gpr[2] = BACKDOOR_HB_PORT;
	tv_vcpu->gpr[1] = 3;
	tv_vcpu->gpr[7] = TV_RAM2;
	CHECK(emul_backdoor_gp(tv_vcpu, &r));
	CHECK_EQ(r, EMUL_DONE);
	CHECK_EQ(tv_vcpu->gpr[1], 0);
	CHECK_EQ(tv_ram2[2], 0xff);
}
