/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/mica: what the host says about itself, as text that people, the mica command and tests read.
 *   log       the kernel's log       counters  the counter tree      worlds   one line per world
 *   mem       bytes by holder        cmdline   as booted             ctl      words that command the host
 *   files     pages of writable files, open files
 */
#include "abi/link.h"
#include "dev/console/console.h"
#include "fs/file.h"

static void emit_counters_line(void *ctx, const char *name, uint64_t value) { text_printf(ctx, "%s %lu\n", name, value); }
static void emit_counters(struct text_out *t) { counter_walk(t, emit_counters_line); }
static void emit_cmdline(struct text_out *t) { text_printf(t, "%s\n", boot_info.cmdline); }

static void emit_world(struct world *w, void *ctx)
{
	static const char *const state[] = { "new", "ready", "running", "blocked", "dead" };
	static const char *const kind[] = { "idle", "kernel", "user", "vcpu" };

	text_printf(ctx, "%u %s %s cpu=%u weight=%u run_ns=%lu %s\n", w->id, kind[w->kind], state[w->state], w->cpu, w->entity.weight,
		    w->run_total_ns, w->name);
}
static void emit_worlds(struct text_out *t) { world_for_each(emit_world, t); }

/* The lines add up to all usable RAM (docs/memory.md). */
static void emit_mem(struct text_out *t) { mem_account(emit_counters_line, t); }

static void emit_files(struct text_out *t)
{
	text_printf(t, "pages %lu\nopen %u\n", (unsigned long)fs_pages_used(), file_count());
}

/* ---- the log: a stream, not a picture, so that a reader can wait at its end and go on ---- */

static int64_t log_file_read(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	char bytes[512];
	uint64_t done = 0;

	while (done < n) {
		size_t part = log_read(pos, bytes, MIN(n - done, sizeof(bytes)));

		if (!part)
			break;
		if (arch_user_write(uva(buf.v + done), bytes, part))
			return -EFAULT;
		done += part;
	}
	return (int64_t)done;
}

static int64_t log_file_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	char line[201];
	size_t len = MIN(n, sizeof(line) - 1);

	if (arch_user_read(line, buf, len))
		return -EFAULT;
	for (size_t i = 0; i < len; i++) /* ring 3's text: one clean line */
		if (line[i] < ' ' || line[i] > '~')
			line[i] = i + 1 == len ? 0 : ' ';
	line[len] = 0;
	log_info("%s: %s", current->name, line);
	return (int64_t)n;
}

/* ---- ctl ---- */

static void ctl_ready(void)
{
	uint64_t tsc = arch_rdtsc(), host_kib = mem_host_kib(), ram_kib = mem_ram_kib();
	char event[80];
	int n = snprintf(event, sizeof(event), "ready %lu %lu %lu\n", tsc, host_kib, ram_kib);

	log_info("mica ready: tsc=%lu host_kib=%lu ram_kib=%lu", tsc, host_kib, ram_kib);
	link_send(LINK_EVENT, event, (size_t)n);
}
static void ctl_power_off(void)
{
	log_info("power off, asked by %s", current->name);
	arch_power_off();
}
static void ctl_reboot(void)
{
	log_info("reboot, asked by %s", current->name);
	arch_reboot();
}

static int64_t ctl_write(struct file *f, uva_t buf, uint64_t n, uint64_t *pos)
{
	static const struct { const char *word; void (*fn)(void); } commands[] = {
		{ "ready", ctl_ready }, { "poweroff", ctl_power_off }, { "reboot", ctl_reboot },
	};
	char word[32];
	size_t len = MIN(n, sizeof(word) - 1);

	if (arch_user_read(word, buf, len))
		return -EFAULT;
	while (len && (word[len - 1] == '\n' || word[len - 1] == ' '))
		len--;
	word[len] = 0;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].word, word)) {
			commands[i].fn();
			return (int64_t)n;
		}
	return -EINVAL;
}

static const struct file_ops log_ops = { .read = log_file_read, .write = log_file_write };
static const struct file_ops ctl_ops = { .write = ctl_write };

static void mica_files_init(void)
{
	devfs_add_text("mica/counters", emit_counters);
	devfs_add_text("mica/worlds", emit_worlds);
	devfs_add_text("mica/mem", emit_mem);
	devfs_add_text("mica/cmdline", emit_cmdline);
	devfs_add_text("mica/files", emit_files);
	devfs_add("mica/log", NULL, &log_ops, NULL);
	devfs_add("mica/ctl", NULL, &ctl_ops, NULL);
}
INIT_CALL(INIT_FS, mica_files_init);
