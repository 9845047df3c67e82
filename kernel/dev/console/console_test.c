/* SPDX-License-Identifier: Apache-2.0 */
/* The link's parser against hostile bytes, its framing and stamps, and the terminal of the screen. */
#include "arch/x86/arch.h"
#include "dev/console/console_priv.h"
#include "test/unit.h"

/* ---- stand-ins ---- */
uint32_t panic_cpu;
static uint8_t wire[65536];
static size_t wire_len;

void uart_write(const void *data, size_t n)
{
	if (n > sizeof(wire) - wire_len)
		abort();
	memcpy(wire + wire_len, data, n);
	wire_len += n;
}
void receiver_call(struct receiver *r, const uint8_t *data, size_t n)
{
	if (r->fn)
		r->fn(r->ctx, data, n);
}
void receiver_set(struct receiver *r, console_fn fn, void *ctx) { *r = (struct receiver){ fn, ctx }; }

/* ---- the link ---- */
static char got[70000];
static size_t got_len;
static unsigned got_channel;

static void collect(unsigned channel, const uint8_t *data, size_t n)
{
	CHECK(channel < LINK_CHANNELS && n >= 1 && n <= 255);
	got_channel = channel;
	if (n > sizeof(got) - got_len)
		got_len = 0;
	memcpy(got + got_len, data, n);
	got_len += n;
}

TEST(frames_come_back_whatever_the_pieces)
{
	static uint8_t text[1000];
	struct link_parser p = { 0 };

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i * 7);
	link_start(false);
	wire_len = got_len = 0;
	link_send(LINK_VM0 + 3, text, sizeof(text));
	CHECK_EQ(wire_len, sizeof(text) + 4 * 3);
	for (size_t i = 0; i < wire_len; i += 13)
		link_parse(&p, wire + i, MIN((size_t)13, wire_len - i), collect);
	CHECK_EQ(got_channel, LINK_VM0 + 3);
	CHECK(got_len == sizeof(text) && !memcmp(got, text, sizeof(text)));
}

TEST(noise_and_bad_headers_are_skipped)
{
	static const uint8_t in[] = { 'x', LINK_MAGIC, 200, LINK_MAGIC, 5, 0, 'y', LINK_MAGIC, 1, 2, 'o', 'k' };
	struct link_parser p = { 0 };

	got_len = 0;
	link_parse(&p, in, sizeof(in), collect);
	CHECK(got_channel == 1 && got_len == 2 && !memcmp(got, "ok", 2));
}

TEST(random_bytes)
{
	struct link_parser p = { 0 };
	uint8_t in[64];

	srand(2);
	for (unsigned i = 0; i < 100000; i++) {
		size_t n = (size_t)rand() % sizeof(in);

		for (size_t k = 0; k < n; k++)
			in[k] = (uint8_t)(rand() % 4 ? rand() : LINK_MAGIC);
		link_parse(&p, in, n, collect);
	}
}

TEST(receivers_get_their_channel_only)
{
	extern void test_take(void *ctx, const uint8_t *data, size_t n);
	static const uint8_t in[] = { LINK_MAGIC, 1, 1, 'a', LINK_MAGIC, 17, 2, 'b', 'c', LINK_MAGIC, 18, 1, 'd' };

	got_len = 0;
	link_receiver(17, test_take, NULL);
	link_receiver(LINK_CHANNELS, test_take, NULL);
	link_input(in, sizeof(in));
	link_receiver(17, NULL, NULL);
	link_input(in, sizeof(in));
	CHECK(got_len == 2 && !memcmp(got, "bc", 2));
}
void test_take(void *ctx, const uint8_t *data, size_t n);
void test_take(void *ctx, const uint8_t *data, size_t n)
{
	(void)ctx;
	collect(17, data, n);
}

TEST(stamps_stand_at_the_start_of_vm_lines_only)
{
	struct link_parser p = { 0 };

	host_clock_ns = 77;
	link_start(true);
	wire_len = got_len = 0;
	link_send(LINK_LOG, "log\n", 4);
	link_send(LINK_VM0, "one\ntw", 6);
	host_clock_ns = 99;
	link_send(LINK_VM0, "o\nx", 3);
	link_parse(&p, wire, wire_len, collect);
	got[got_len] = 0;
	CHECK(!strcmp(got, "log\nT 77 77 one\nT 77 77 two\nT 99 99 x") || (printf("%s\n", got), 0));
	link_start(false);
}

/* ---- the screen ---- */
#define COLS 20
#define ROWS 5
static char shown[ROWS][COLS + 1];
static void draw(unsigned c, unsigned r, uint8_t ch)
{
	CHECK(c < COLS && r < ROWS);
	shown[r][c] = (char)ch;
}
static const struct screen_ops test_screen = { .draw = draw, .cols = COLS, .rows = ROWS, .jump = 1 };
static void show(const char *s) { screen_write(s, strlen(s)); }

TEST(terminal)
{
	screen_start(&test_screen);
	show("first\n\ttab\rX\n12345678901234567890wrapped\x1b[1;31mred\x1b[0m\b!");
	CHECK(!strcmp(shown[0], "first               "));
	CHECK(!strcmp(shown[1], "X       tab         "));
	CHECK(!strcmp(shown[2], "12345678901234567890"));
	CHECK(!strcmp(shown[3], "wrappedre!          "));
	show("\nfifth\nsixth");
	CHECK(!strcmp(shown[0], "X       tab         "));
	CHECK(!strcmp(shown[3], "fifth               "));
	CHECK(!strcmp(shown[4], "sixth               "));
}

TEST(terminal_random_bytes)
{
	struct screen_ops jumpy = test_screen;

	jumpy.jump = 8;
	screen_start(&jumpy);
	srand(3);
	for (unsigned i = 0; i < 200000; i++)
		screen_write(&(char){ (char)(rand() % 3 ? rand() % 128 : '\n') }, 1);
	screen_start(NULL);
	show("nobody");
}
