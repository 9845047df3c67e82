/* SPDX-License-Identifier: Apache-2.0 */
/* JSON writer: see json.h. */
#include "user/mica/json.h"

#include <stdio.h>

static int need_comma; /* an element stands before this place */

static void separate(void)
{
	if (need_comma)
		fputs(", ", stdout);
	need_comma = 1;
}

static void quoted(const char *s)
{
	putchar('"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ')
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

static void key_name(const char *key)
{
	quoted(key);
	fputs(": ", stdout);
}

void json_open(char bracket)
{
	separate();
	putchar(bracket);
	need_comma = 0;
}

void json_open_key(const char *key, char bracket)
{
	separate();
	key_name(key);
	putchar(bracket);
	need_comma = 0;
}

void json_close(char bracket)
{
	putchar(bracket);
	need_comma = 1;
}

void json_string(const char *key, const char *value)
{
	separate();
	key_name(key);
	quoted(value);
}

void json_number(const char *key, uint64_t value)
{
	separate();
	key_name(key);
	printf("%llu", (unsigned long long)value);
}

void json_end(void)
{
	putchar('\n');
	need_comma = 0;
}
