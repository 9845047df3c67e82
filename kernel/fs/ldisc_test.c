/* SPDX-License-Identifier: Apache-2.0 */
/* What a typed line becomes: editing, ends, signals, raw mode, overflow. */
#include "fs/ldisc.h"
#include "core/core.h"
#include "test/unit.h"

static struct ldisc l;
static char screen[65536];
static size_t screen_len;

static void show(void *ctx, const char *bytes, size_t n)
{
	if (screen_len + n < sizeof(screen)) {
		memcpy(screen + screen_len, bytes, n);
		screen_len += n;
	}
	screen[screen_len] = 0;
}

static int type(const char *text)
{
	int sig = 0;

	for (; *text; text++) {
		int s = ldisc_input(&l, (uint8_t)*text);

		sig = s ? s : sig;
	}
	return sig;
}

static void fresh(void)
{
	ldisc_init(&l, show, NULL);
	screen_len = 0;
	screen[0] = 0;
}

static const char *take(size_t n)
{
	static char buf[8192];
	size_t got = ldisc_read(&l, buf, n < sizeof(buf) - 1 ? n : sizeof(buf) - 1);

	buf[got] = 0;
	return buf;
}

TEST(a_line_is_readable_at_its_end)
{
	fresh();
	type("ab");
	CHECK(!ldisc_readable(&l));
	type("c\r");
	CHECK(ldisc_readable(&l));
	CHECK(!strcmp(take(100), "abc\n"));
	CHECK(!strcmp(screen, "abc\r\n"));
}

TEST(one_line_at_a_time_and_in_pieces)
{
	fresh();
	type("one\ntwo\n");
	CHECK(!strcmp(take(2), "on"));
	CHECK(!strcmp(take(100), "e\n"));
	CHECK(!strcmp(take(100), "two\n"));
	CHECK(!ldisc_readable(&l));
}

TEST(editing)
{
	fresh();
	type("abx\177c\b\b\b\b\b\bhi\n");
	CHECK(!strcmp(take(100), "hi\n"));
	type("some words\027kill\025ok\n");
	CHECK(!strcmp(take(100), "ok\n"));
	type("a\xc3\xa9\177b\n"); /* both bytes of é */
	CHECK(!strcmp(take(100), "ab\n"));
}

TEST(end_of_file)
{
	fresh();
	type("\004");
	CHECK(ldisc_readable(&l));
	CHECK(!strcmp(take(100), ""));
	CHECK(!ldisc_readable(&l));
	type("abc\004");
	CHECK(!strcmp(take(3), "abc"));
	CHECK(!ldisc_readable(&l)); /* no second, empty read */
}

TEST(signals)
{
	fresh();
	CHECK_EQ(type("junk\003"), SIGINT_);
	CHECK(!strcmp(screen, "junk^C"));
	type("x\n");
	CHECK(!strcmp(take(100), "x\n"));
	CHECK_EQ(type("\032"), SIGTSTP_);
	CHECK_EQ(type("\034"), SIGQUIT_);
}

TEST(raw_mode)
{
	struct linux_termios t;

	fresh();
	type("half");
	t = l.termios;
	t.lflag &= ~(uint32_t)(TTY_ICANON | TTY_ECHO | TTY_ISIG);
	t.iflag = 0;
	ldisc_set(&l, &t);
	CHECK(!strcmp(take(100), "half"));
	CHECK_EQ(type("\003\r\177"), 0);
	CHECK(!strcmp(take(100), "\003\r\177"));
}

TEST(a_full_line_still_ends)
{
	fresh();
	for (int i = 0; i < 3 * LDISC_SIZE; i++)
		ldisc_input(&l, 'x');
	CHECK(!ldisc_readable(&l));
	type("\n");
	CHECK(ldisc_readable(&l));
	CHECK_EQ(ldisc_available(&l), LDISC_SIZE);
}

TEST(any_bytes)
{
	char buf[64];

	fresh();
	srand(2);
	for (int i = 0; i < 300000; i++) {
		ldisc_input(&l, (uint8_t)rand());
		if (rand() % 16 == 0)
			CHECK(ldisc_read(&l, buf, (size_t)rand() % sizeof(buf)) <= sizeof(buf));
		if (rand() % 512 == 0) {
			struct linux_termios t = l.termios;

			t.lflag ^= 1u << rand() % 16;
			t.iflag ^= 1u << rand() % 11;
			t.cc[rand() % TTY_NCCS] = (uint8_t)rand();
			ldisc_set(&l, &t);
		}
		CHECK(l.tail - l.head <= LDISC_SIZE && l.ready - l.head <= l.tail - l.head);
		if (screen_len > sizeof(screen) / 2)
			screen_len = 0;
	}
}
