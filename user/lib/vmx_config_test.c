/* SPDX-License-Identifier: Apache-2.0 */
#include "user/lib/fuzz.h"
#include "test/unit.h"
#include "user/lib/vmx_config.h"

static bool parse(const char *text, struct vmx_config *c, struct uerror *e) { return vmx_config_parse("/vms/00-box.vmx", text, strlen(text), c, e); }

TEST(defaults)
{
	struct vmx_config c;
	struct uerror e;

	CHECK(parse("", &c, &e));
	CHECK(!strcmp(c.name, "00-box"));
	CHECK_EQ(c.memory, 512u << 20);
	CHECK_EQ(c.vcpus, 1);
	CHECK_EQ(c.shares, 1000);
	CHECK(c.autostart && c.serial_present && !c.debug_exit && !c.reset_exits);
}

TEST(all_keys)
{
	struct vmx_config c;
	struct uerror e;

	CHECK(parse("\xef\xbb\xbf.encoding = \"UTF-8\"\r\n# comment\n\n  MEMSIZE = \"1024\"\nnumVCPUs=\"4\" # four\ncpuid.corespersocket = \"2\"\n"
		    "displayName = \"a |22b|22\"\nuuid.bios = \"56 4d 00 01 02 03 04 05-06 07 08 09 0a 0b 0c 0d\"\nvirtualHW.version = \"19\"\n"
		    "sched.cpu.shares = \"high\"\nserial0.present = \"FALSE\"\nmica.boot.kernel = \"k\"\nmica.boot.initrd = \"i a,j\"\nmica.boot.append = \"x=1\"\n"
		    "mica.debugExit = \"TRUE\"\nmica.autostart = \"false\"\nmica.onReset = \"exit\"\nmica.torture.exits = \"1000\"\nmica.torture.memory = \"TRUE\"\n"
		    "mica.noX2apic = \"TRUE\"\nscsi0:0.fileName = \"unknown keys are ignored\"\n", &c, &e));
	CHECK(!strcmp(c.name, "a \"b\""));
	CHECK_EQ(c.memory, 1u << 30);
	CHECK_EQ(c.vcpus, 4);
	CHECK_EQ(c.cores_per_socket, 2);
	CHECK_EQ(c.shares, 8000);
	CHECK_EQ(c.hw_version, 19);
	CHECK_EQ(c.bios_uuid[0], 0x56);
	CHECK_EQ(c.bios_uuid[15], 0x0d);
	CHECK(!c.serial_present && c.debug_exit && !c.autostart && c.reset_exits && c.no_x2apic);
	CHECK_EQ(c.torture_exits, 1000);
	CHECK_EQ(c.torture_memory, 1);
	CHECK(!strcmp(c.kernel, "k") && !strcmp(c.initrd, "i a,j") && !strcmp(c.append, "x=1"));
}

TEST(last_of_equal_keys_counts)
{
	struct vmx_config c;
	struct uerror e;

	CHECK(parse("memsize = \"8\"\nmemsize = \"16\"\nsched.cpu.shares = \"5\"\nsched.cpu.shares = \"low\"\n", &c, &e));
	CHECK_EQ(c.memory, 16u << 20);
	CHECK_EQ(c.shares, 500);
}

TEST(errors_name_file_and_line)
{
	static const struct { const char *text, *want; } bad[] = {
		{ "memsize = \"8\"\nthis line is no assignment\n", ":2: expected key" },
		{ "memsize = 8\n", ":1: memsize: the value must stand" },
		{ "\n\nmemsize = \"8\n", ":3: memsize: the closing quote" },
		{ "memsize = \"8\" 9\n", ":1: memsize: text after" },
		{ "memsize = \"6\"\n", "multiple of 4" },
		{ "memsize = \"\"\n", "number from 4" },
		{ "memsize = \"99999999999999999999999\"\n", "number from 4" },
		{ "memsize = \"-4\"\n", "number from 4" },
		{ "numvcpus = \"33\"\n", "1 to 32" },
		{ "numvcpus = \"4\"\ncpuid.coresPerSocket = \"3\"\n", ":2: cpuid.coresPerSocket" },
		{ "uuid.bios = \"00 11\"\n", "16 bytes" },
		{ "displayName = \"|0\"\n", "two hexadecimal digits" },
		{ "displayName = \"a|00b\"\n", "zero byte" },
		{ "displayName = \"\"\n", "empty" },
		{ "mica.onReset = \"maybe\"\n", "restart" },
		{ "mica.debugExit = \"perhaps\"\n", "TRUE" },
		{ "sched.cpu.shares = \"lots\"\n", "low" },
		{ "= \"x\"\n", ":1: expected key" },
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vmx_config c;
		struct uerror e = { "" };

		CHECK(!parse(bad[i].text, &c, &e));
		CHECK(strstr(e.text, "/vms/00-box.vmx:") == e.text);
		if (!strstr(e.text, bad[i].want)) {
			printf("%s\n", e.text);
			CHECK(!"the error says what was wanted");
		}
	}
}

TEST(long_values)
{
	static char text[10000];
	struct vmx_config c;
	struct uerror e;

	strcpy(text, "mica.boot.append = \"");
	memset(text + strlen(text), 'x', 5000);
	strcat(text, "\"\n");
	CHECK(!parse(text, &c, &e) && strstr(e.text, "longer"));
	strcpy(text, "displayName = \"");
	memset(text + 15, 'x', 64);
	strcpy(text + 15 + 64, "\"\n");
	CHECK(!parse(text, &c, &e) && strstr(e.text, "longer"));
}

TEST(paths)
{
	char out[64];

	CHECK(vmx_config_path("/vms/a.vmx", "kernel", out, sizeof(out)) && !strcmp(out, "/vms/kernel"));
	CHECK(vmx_config_path("/vms/a.vmx", "/kernel", out, sizeof(out)) && !strcmp(out, "/kernel"));
	CHECK(vmx_config_path("a.vmx", "kernel", out, sizeof(out)) && !strcmp(out, "kernel"));
	CHECK(!vmx_config_path("/vms/a.vmx", "0123456789012345678901234567890123456789012345678901234567890", out, sizeof(out)));
}

static void fuzz_one(const uint8_t *data, size_t n)
{
	struct vmx_config c;
	struct uerror e;

	if (vmx_config_parse("f.vmx", (const char *)data, n, &c, &e) && (!c.vcpus || c.vcpus > VMM_MAX_VCPUS || c.memory < 4u << 20))
		abort();
}
FUZZ_TARGET(fuzz_one)

TEST(mutations)
{
	static const char seed[] = "memsize = \"1024\"\nnumvcpus = \"4\" # x\ndisplayName = \"a|22b\"\nuuid.bios = \"56 4d 00 01 02 03 04 05-06 07 08 09 0a 0b 0c 0d\"\n"
				   "sched.cpu.shares = \"normal\"\nmica.torture.memory = \"1\"\r\nserial0.fileType = \"file\"\nserial0.fileName = \"x\"\n";

	fuzz_loop(fuzz_one, seed, sizeof(seed) - 1, sizeof(seed) - 1, 20000);
}
