/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which consoles there are, and what goes where.
 *
 *   serial port: the log and the operator's terminal, or the runner link with everything framed
 *   screen:      the log and the operator's terminal
 *
 * The screen's memory is reached through the boot page tables until mem takes over, and through a
 * mapping of device registers after that; in between it shows nothing. Each time the log's ring is
 * shown again from its beginning, so no line is missing.
 */
#include "arch/x86/arch.h"
#include "dev/console/console_priv.h"
#include "mem/mem.h"

#define VGA_TEXT 0xb8000
#define VGA_TEXT_SIZE 0x8000
#define BOOT_MAPPED GIB(4)

static struct spinlock lock = SPINLOCK_INIT("console", RANK_CONSOLE); /* screen and raw serial output */
static struct screen_ops screen;
static struct receiver receiver; /* of the terminal, when there is no link */

/* ---- sinks of the log ---- */
static void write_serial_lines(const char *text, size_t n)
{
	size_t start = 0;

	for (size_t i = 0; i < n; i++)
		if (text[i] == '\n') {
			uart_write(text + start, i - start);
			uart_write("\r\n", 2);
			start = i + 1;
		}
	uart_write(text + start, n - start);
}

static void log_to_serial(const char *text, size_t n)
{
	uint64_t flags = console_lock(&lock);

	write_serial_lines(text, n);
	console_unlock(&lock, flags);
}

static void log_to_screen(const char *text, size_t n)
{
	uint64_t flags = console_lock(&lock);

	screen_write(text, n);
	console_unlock(&lock, flags);
}

static void log_to_link(const char *text, size_t n) { link_send(LINK_LOG, text, n); }

static struct log_sink serial_sink = { .write = log_to_serial };
static struct log_sink screen_sink = { .write = log_to_screen };
static struct log_sink link_sink = { .write = log_to_link };

/* ---- the operator's terminal ---- */
void console_write(const void *data, size_t n)
{
	uint64_t flags;

	if (link_active()) {
		link_send(LINK_CONSOLE, data, n);
		return;
	}
	flags = console_lock(&lock);
	uart_write(data, n);
	screen_write(data, n);
	console_unlock(&lock, flags);
}

void console_receiver(console_fn fn, void *ctx)
{
	if (link_active())
		link_receiver(LINK_CONSOLE, fn, ctx);
	else
		receiver_set(&receiver, fn, ctx);
}

static void raw_input(const uint8_t *data, size_t n) { receiver_call(&receiver, data, n); }

/* ---- receivers ---- */
static bool delivering; /* set by the serial interrupt, which comes on one CPU only */

void receiver_call(struct receiver *r, const uint8_t *data, size_t n)
{
	console_fn fn;

	__atomic_store_n(&delivering, true, __ATOMIC_SEQ_CST);
	fn = __atomic_load_n(&r->fn, __ATOMIC_SEQ_CST);
	if (fn)
		fn(r->ctx, data, n);
	__atomic_store_n(&delivering, false, __ATOMIC_RELEASE);
}

void receiver_set(struct receiver *r, console_fn fn, void *ctx)
{
	__atomic_store_n(&r->fn, NULL, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&delivering, __ATOMIC_SEQ_CST))
		arch_pause();
	r->ctx = ctx;
	__atomic_store_n(&r->fn, fn, __ATOMIC_RELEASE);
}

/* ---- start ---- */
static bool screen_is_framebuffer(void) { return boot_info.fb.kind == 1; }

static uint64_t screen_base(void) { return screen_is_framebuffer() ? boot_info.fb.base : VGA_TEXT; }

static uint64_t screen_size(void)
{
	return screen_is_framebuffer() ? (uint64_t)boot_info.fb.pitch * boot_info.fb.height : VGA_TEXT_SIZE;
}

static void screen_show(uint8_t *base)
{
	bool usable = screen_is_framebuffer() ? framebuffer_init(base, &boot_info.fb, &screen) : vga_text_init(base, &screen);

	if (!usable)
		return;
	screen_start(&screen);
	log_sink_add(&screen_sink);
}

static void boot_map_end(void)
{
	log_sink_remove(&screen_sink);
	screen_start(NULL);
}

static void console_init(void)
{
	uint64_t base = screen_base(), size = screen_size();

	if (uart_init()) {
		if (cmdline_get("mica.link", NULL, 0)) {
			link_start(cmdline_get("mica.stamp", NULL, 0));
			log_sink_add(&link_sink);
		} else {
			log_sink_add(&serial_sink);
		}
	}
	if (base < BOOT_MAPPED && size <= BOOT_MAPPED - base)
		screen_show((uint8_t *)(DIRECT_BASE + base));
	boot_map_ends = boot_map_end;
}
INIT_CALL(INIT_CONSOLE, console_init);

static void console_screen_init(void)
{
	uint8_t *base = mmio_map(hpa(screen_base()), screen_size());

	if (base)
		screen_show(base);
}
INIT_CALL(INIT_ARCH, console_screen_init);

static void console_input_init(void) { uart_input_start(link_active() ? link_input : raw_input); }
INIT_CALL(INIT_DEV, console_input_init);
