/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parser of .vmx files. One pass over the lines; each known key has one row in `keys` that says how its value is read and
 * where it goes. The file is hostile: every value is bounded, every number has its range, nothing depends on a final NUL.
 */
#include "user/lib/vmx_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define KEY_MAX 128
#define MIB (1ull << 20)

struct line { /* where we are, for errors */
	const char *file;
	unsigned number;
	const char *key;
	struct uerror *err;
};

struct raw { /* values that are put together once all lines are read */
	uint64_t memory_mib, shares_number;
	uint32_t shares_per_vcpu;
	bool shares_given, uuid_given;
	unsigned cores_line;
	char serial_type[32];
};

struct parse {
	struct vmx_config *c;
	struct raw raw;
};

static bool bad_value(const struct line *l, const char *value, const char *want)
{
	return uerror_set(l->err, "%s:%u: %s = \"%.40s\": %s", l->file, l->number, l->key, value, want);
}

static bool parse_number(const struct line *l, const char *v, uint64_t min, uint64_t max, uint64_t *out)
{
	uint64_t n = 0;
	char want[80];

	snprintf(want, sizeof(want), "must be a number from %llu to %llu", (unsigned long long)min, (unsigned long long)max);
	if (!*v)
		return bad_value(l, v, want);
	for (const char *p = v; *p; p++) {
		if (*p < '0' || *p > '9' || n > (UINT64_MAX - 9) / 10)
			return bad_value(l, v, want);
		n = n * 10 + (unsigned)(*p - '0');
	}
	if (n < min || n > max)
		return bad_value(l, v, want);
	*out = n;
	return true;
}

static bool parse_u32(const struct line *l, const char *v, uint32_t min, uint32_t max, uint32_t *out)
{
	uint64_t n;

	if (!parse_number(l, v, min, max, &n))
		return false;
	*out = (uint32_t)n;
	return true;
}

static bool parse_bool(const struct line *l, const char *v, bool *out)
{
	*out = !strcasecmp(v, "TRUE") || !strcasecmp(v, "yes") || !strcmp(v, "1");
	if (*out || !strcasecmp(v, "FALSE") || !strcasecmp(v, "no") || !strcmp(v, "0"))
		return true;
	return bad_value(l, v, "must be \"TRUE\" or \"FALSE\"");
}

static bool parse_text(const struct line *l, const char *v, char *out, size_t size)
{
	if (strlen(v) >= size) {
		char want[48];

		snprintf(want, sizeof(want), "is longer than %zu characters", size - 1);
		return bad_value(l, v, want);
	}
	strcpy(out, v);
	return true;
}

static bool key_memsize(const struct line *l, const char *v, struct parse *p)
{
	if (!parse_number(l, v, 4, 16u << 20, &p->raw.memory_mib))
		return false;
	return p->raw.memory_mib % 4 == 0 || bad_value(l, v, "must be a multiple of 4");
}
static bool key_vcpus(const struct line *l, const char *v, struct parse *p)
{
	return parse_u32(l, v, 1, VMM_MAX_VCPUS, &p->c->vcpus);
}
static bool key_cores(const struct line *l, const char *v, struct parse *p)
{
	p->raw.cores_line = l->number;
	return parse_u32(l, v, 1, VMM_MAX_VCPUS, &p->c->cores_per_socket);
}
static bool key_name(const struct line *l, const char *v, struct parse *p)
{
	if (!*v)
		return bad_value(l, v, "must not be empty");
	for (const char *s = v; *s; s++)
		if ((unsigned char)*s < ' ')
			return bad_value(l, v, "must not hold control characters");
	return parse_text(l, v, p->c->name, sizeof(p->c->name));
}
static bool key_hw_version(const struct line *l, const char *v, struct parse *p)
{
	return parse_u32(l, v, 4, 99, &p->c->hw_version);
}

static bool key_shares(const struct line *l, const char *v, struct parse *p)
{
	static const struct { const char *word; uint32_t each; } level[] = { { "low", 500 }, { "normal", 1000 }, { "high", 2000 } };

	p->raw.shares_given = true;
	for (unsigned i = 0; i < 3; i++) {
		if (!strcasecmp(v, level[i].word)) {
			p->raw.shares_per_vcpu = level[i].each;
			p->raw.shares_number = 0;
			return true;
		}
	}
	if (*v < '0' || *v > '9')
		return bad_value(l, v, "must be \"low\", \"normal\", \"high\" or a number");
	return parse_number(l, v, 1, 1000000, &p->raw.shares_number);
}

/* 16 bytes in hex, any of blanks and dashes between them. */
static bool key_uuid(const struct line *l, const char *v, struct parse *p)
{
	unsigned n = 0;

	for (const char *s = v; *s; s++) {
		unsigned digit;

		if (*s == ' ' || *s == '-')
			continue;
		if (*s >= '0' && *s <= '9')
			digit = (unsigned)(*s - '0');
		else if ((*s | 32) >= 'a' && (*s | 32) <= 'f')
			digit = (unsigned)((*s | 32) - 'a') + 10;
		else
			return bad_value(l, v, "must be 16 bytes in hexadecimal");
		if (n >= 32)
			return bad_value(l, v, "must be 16 bytes in hexadecimal");
		p->c->bios_uuid[n / 2] = (uint8_t)(n % 2 ? p->c->bios_uuid[n / 2] | digit : digit << 4);
		n++;
	}
	p->raw.uuid_given = true;
	return n == 32 || bad_value(l, v, "must be 16 bytes in hexadecimal");
}

static bool key_serial_present(const struct line *l, const char *v, struct parse *p) { return parse_bool(l, v, &p->c->serial_present); }
static bool key_serial_type(const struct line *l, const char *v, struct parse *p)
{
	return parse_text(l, v, p->raw.serial_type, sizeof(p->raw.serial_type));
}
static bool key_serial_file(const struct line *l, const char *v, struct parse *p)
{
	return parse_text(l, v, p->c->serial_file, sizeof(p->c->serial_file));
}
static bool key_kernel(const struct line *l, const char *v, struct parse *p) { return parse_text(l, v, p->c->kernel, sizeof(p->c->kernel)); }
static bool key_initrd(const struct line *l, const char *v, struct parse *p) { return parse_text(l, v, p->c->initrd, sizeof(p->c->initrd)); }
static bool key_append(const struct line *l, const char *v, struct parse *p) { return parse_text(l, v, p->c->append, sizeof(p->c->append)); }
static bool key_debug_exit(const struct line *l, const char *v, struct parse *p) { return parse_bool(l, v, &p->c->debug_exit); }
static bool key_autostart(const struct line *l, const char *v, struct parse *p) { return parse_bool(l, v, &p->c->autostart); }
static bool key_no_x2apic(const struct line *l, const char *v, struct parse *p) { return parse_bool(l, v, &p->c->no_x2apic); }
static bool key_torture_exits(const struct line *l, const char *v, struct parse *p)
{
	return parse_u32(l, v, 0, UINT32_MAX, &p->c->torture_exits);
}

static bool key_torture_memory(const struct line *l, const char *v, struct parse *p)
{
	bool on;

	if (*v >= '0' && *v <= '9')
		return parse_u32(l, v, 0, UINT32_MAX, &p->c->torture_memory);
	if (!parse_bool(l, v, &on))
		return false;
	p->c->torture_memory = on;
	return true;
}

static bool key_on_reset(const struct line *l, const char *v, struct parse *p)
{
	p->c->reset_exits = !strcasecmp(v, "exit");
	return p->c->reset_exits || !strcasecmp(v, "restart") || bad_value(l, v, "must be \"restart\" or \"exit\"");
}

static const struct { const char *key; bool (*set)(const struct line *l, const char *v, struct parse *p); } keys[] = {
	{ "memsize", key_memsize },
	{ "numvcpus", key_vcpus },
	{ "cpuid.corespersocket", key_cores },
	{ "displayname", key_name },
	{ "uuid.bios", key_uuid },
	{ "virtualhw.version", key_hw_version },
	{ "sched.cpu.shares", key_shares },
	{ "serial0.present", key_serial_present },
	{ "serial0.filetype", key_serial_type },
	{ "serial0.filename", key_serial_file },
	{ "mica.boot.kernel", key_kernel },
	{ "mica.boot.initrd", key_initrd },
	{ "mica.boot.append", key_append },
	{ "mica.debugexit", key_debug_exit },
	{ "mica.autostart", key_autostart },
	{ "mica.onreset", key_on_reset },
	{ "mica.torture.exits", key_torture_exits },
	{ "mica.torture.memory", key_torture_memory },
	{ "mica.nox2apic", key_no_x2apic },
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	return p;
}

/* p stands after the opening quote. Unescapes into out (VMX_VALUE_MAX + 1 bytes); *pp is left after the closing quote. */
static bool read_quoted(const struct line *l, const char **pp, const char *end, char *out)
{
	const char *p = *pp;
	size_t n = 0;

	while (p < end && *p != '"') {
		char ch = *p++;

		if (ch == '|') {
			if (end - p < 2 || hex_digit(p[0]) < 0 || hex_digit(p[1]) < 0)
				return uerror_set(l->err, "%s:%u: %s: '|' must be followed by two hexadecimal digits", l->file, l->number, l->key);
			ch = (char)(hex_digit(p[0]) << 4 | hex_digit(p[1]));
			p += 2;
		}
		if (!ch)
			return uerror_set(l->err, "%s:%u: %s: the value holds a zero byte", l->file, l->number, l->key);
		if (n >= VMX_VALUE_MAX)
			return uerror_set(l->err, "%s:%u: %s: the value is longer than %d characters", l->file, l->number, l->key, VMX_VALUE_MAX);
		out[n++] = ch;
	}
	if (p >= end)
		return uerror_set(l->err, "%s:%u: %s: the closing quote is missing", l->file, l->number, l->key);
	out[n] = 0;
	*pp = p + 1;
	return true;
}

static bool is_key_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == ':' || c == '_' || c == '-';
}

/* One line without its end. Empty lines and comments are fine. */
static bool parse_line(struct line *l, const char *p, const char *end, struct parse *ps)
{
	char key[KEY_MAX], value[VMX_VALUE_MAX + 1];
	size_t n = 0;

	p = skip_blanks(p, end);
	if (p == end || *p == '#')
		return true;
	for (; p < end; p++) {
		char ch = *p >= 'A' && *p <= 'Z' ? (char)(*p | 32) : *p;

		if (!is_key_char(ch))
			break;
		if (n + 1 >= sizeof(key))
			return uerror_set(l->err, "%s:%u: the key is longer than %d characters", l->file, l->number, KEY_MAX - 1);
		key[n++] = ch;
	}
	key[n] = 0;
	l->key = key;
	p = skip_blanks(p, end);
	if (!n || p == end || *p != '=')
		return uerror_set(l->err, "%s:%u: expected key = \"value\"", l->file, l->number);
	p = skip_blanks(p + 1, end);
	if (p == end || *p != '"')
		return uerror_set(l->err, "%s:%u: %s: the value must stand in double quotes", l->file, l->number, key);
	p++;
	if (!read_quoted(l, &p, end, value))
		return false;
	p = skip_blanks(p, end);
	if (p != end && *p != '#')
		return uerror_set(l->err, "%s:%u: %s: text after the closing quote", l->file, l->number, key);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strcmp(keys[i].key, key))
			return keys[i].set(l, value, ps);
	return true;
}

static void set_defaults(const char *file, struct vmx_config *c)
{
	const char *base = strrchr(file, '/');
	size_t n;

	memset(c, 0, sizeof(*c));
	base = base ? base + 1 : file;
	n = strlen(base);
	if (n > 4 && !strcasecmp(base + n - 4, ".vmx"))
		n -= 4;
	snprintf(c->name, sizeof(c->name), "%.*s", (int)(n < VMM_NAME_MAX ? n : VMM_NAME_MAX - 1), base);
	c->vcpus = c->cores_per_socket = 1;
	c->hw_version = 20;
	c->serial_present = c->autostart = true;
}

/* A VM without uuid.bios gets one that depends on its name only, so that it keeps it from start to start. */
static void make_uuid(struct vmx_config *c)
{
	uint64_t h[2] = { 0xcbf29ce484222325ull, 0x84222325cbf29ce4ull };

	for (const char *s = c->name; *s; s++)
		for (unsigned i = 0; i < 2; i++)
			h[i] = (h[i] ^ ((unsigned char)*s + i)) * 0x100000001b3ull;
	memcpy(c->bios_uuid, h, 16);
	c->bios_uuid[6] = (uint8_t)((c->bios_uuid[6] & 0x0f) | 0x40);
	c->bios_uuid[8] = (uint8_t)((c->bios_uuid[8] & 0x3f) | 0x80);
}

static bool finish(const char *file, struct parse *p, struct uerror *err)
{
	struct vmx_config *c = p->c;

	if (c->vcpus % c->cores_per_socket)
		return uerror_set(err, "%s:%u: cpuid.coresPerSocket = \"%u\" does not divide numvcpus = \"%u\"", file, p->raw.cores_line,
				  c->cores_per_socket, c->vcpus);
	c->memory = p->raw.memory_mib * MIB;
	c->shares = p->raw.shares_number ? (uint32_t)p->raw.shares_number : p->raw.shares_per_vcpu * c->vcpus;
	if (!p->raw.uuid_given)
		make_uuid(c);
	if (*c->serial_file && (!strcasecmp(p->raw.serial_type, "file") || !strcasecmp(p->raw.serial_type, "device")))
		c->serial_type = VMX_SERIAL_FILE;
	return true;
}

bool vmx_config_parse(const char *file, const char *text, size_t len, struct vmx_config *c, struct uerror *err)
{
	struct parse p = { .c = c, .raw = { .memory_mib = 512, .shares_per_vcpu = 1000 } };
	struct line l = { file, 0, "", err };
	const char *at = text, *end = text + len;

	if (len > VMX_FILE_MAX)
		return uerror_set(err, "%s: longer than %u bytes: not a .vmx file", file, VMX_FILE_MAX);
	set_defaults(file, c);
	if (len >= 3 && !memcmp(at, "\xef\xbb\xbf", 3))
		at += 3;
	while (at < end) {
		const char *eol = memchr(at, '\n', (size_t)(end - at));
		const char *stop = eol ? eol : end;

		l.number++;
		if (stop > at && stop[-1] == '\r')
			stop--;
		if (!parse_line(&l, at, stop, &p))
			return false;
		at = eol ? eol + 1 : end;
	}
	return finish(file, &p, err);
}

bool vmx_config_load(const char *path, struct vmx_config *c, struct uerror *err)
{
	char *text = malloc(VMX_FILE_MAX + 1);
	size_t n = 0;
	ssize_t r = 1;
	bool ok;
	int fd;

	if (!text)
		return uerror_set(err, "%s: no memory to read it", path);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		free(text);
		return uerror_set(err, "%s: cannot open it: %s", path, strerror(errno));
	}
	while (n <= VMX_FILE_MAX && (r = read(fd, text + n, VMX_FILE_MAX + 1 - n)) > 0)
		n += (size_t)r;
	close(fd);
	ok = r < 0 ? uerror_set(err, "%s: cannot read it: %s", path, strerror(errno)) : vmx_config_parse(path, text, n, c, err);
	free(text);
	return ok;
}

bool vmx_config_path(const char *vmx_path, const char *name, char *out, size_t size)
{
	const char *slash = strrchr(vmx_path, '/');
	int dir = *name == '/' || !slash ? 0 : (int)(slash + 1 - vmx_path);

	return (size_t)snprintf(out, size, "%.*s%s", dir, vmx_path, name) < size;
}
