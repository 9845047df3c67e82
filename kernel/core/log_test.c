/* SPDX-License-Identifier: Apache-2.0 */
/* The log's ring, its sinks, and a line that comes while the log is being written. */
#include "arch/x86/arch.h"
#include "core/core.h"
#include "test/unit.h"

uint64_t host_clock_ns, tsc_hz = NSEC_PER_SEC;
uint32_t panic_cpu;
uint64_t clock_ns(void) { return host_clock_ns; }
unsigned arch_cpu_id(void) { return 0; }
size_t strlcpy(char *d, const char *s, size_t size) { return (size_t)snprintf(d, size, "%s", s); }

static char seen[200000];
static size_t seen_len;
static unsigned recursions;

static void sink_write(const char *text, size_t len)
{
	memcpy(seen + seen_len, text, len);
	seen_len += len;
	seen[seen_len] = 0;
	if (recursions) {
		recursions--;
		log_info("from within");
	}
}
static struct log_sink sink = { .write = sink_write };

TEST(order_wrap_and_recursion)
{
	uint64_t pos = 0;
	char buf[1000];
	size_t n, total = 0;

	host_clock_ns = 1500 * 1000;
	log_warn("before %d", 1);
	log_sink_add(&sink);
	CHECK(strstr(seen, "[    0.001500] warning: before 1\n") != NULL);
	seen_len = 0;
	log_info("bell \a and\nline");
	CHECK(!strcmp(seen, "[    0.001500] bell ? and?line\n"));
	seen_len = 0;
	recursions = 1;
	log_info("outer");
	CHECK(!strcmp(seen, "[    0.001500] outer\n[    0.001500] from within\n"));
	recursions = 6; /* more than there is room for at once: none may hang, later ones come through */
	log_info("many");
	seen_len = 0;
	for (unsigned i = 0; i < 3000; i++)
		log_info("line %u %s", i, "....................");
	CHECK(strstr(seen, "line 2999") != NULL);
	while ((n = log_read(&pos, buf, sizeof(buf))))
		total += n;
	CHECK_EQ(total, 65536);
	log_sink_remove(&sink);
	seen_len = 0;
	log_info("unseen");
	CHECK_EQ(seen_len, 0);
	CHECK(log_read(&pos, buf, sizeof(buf)) > 0 && !log_read(&pos, buf, sizeof(buf)));
}

TEST(long_lines_end)
{
	char text[3000];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	log_sink_add(&sink);
	seen_len = 0;
	log_error("%s", text);
	CHECK(seen_len < 600 && seen[seen_len - 1] == '\n');
	log_sink_remove(&sink);
}
