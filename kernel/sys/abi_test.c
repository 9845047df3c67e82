/* SPDX-License-Identifier: Apache-2.0 */
/* docs/abi.md and the dispatch table list the same calls: "| number | name | …" per row. Run from the tree's root. */
#include "test/unit.h"

#define R 1
#define C 2
static const struct {
	int number;
	const char *name;
	int flags;
} served[] = {
#define CALL(number, name, flags) { number, #name, flags },
#include "sys/table.h"
#undef CALL
};
#define SERVED (sizeof(served) / sizeof(served[0]))

TEST(ascending)
{
	for (size_t i = 1; i < SERVED; i++)
		CHECK(served[i - 1].number < served[i].number);
}

TEST(documented)
{
	FILE *f = fopen("docs/abi.md", "r");
	char line[512], name[64], marks[8];
	size_t i = 0;
	int number;

	CHECK(f != NULL);
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "| %d | %63s | %7[RC -]|", &number, name, marks) != 3)
			continue;
		if (i >= SERVED || served[i].number != number || strcmp(served[i].name, name)) {
			printf("docs/abi.md has %d %s where the table has %s\n", number, name, i < SERVED ? served[i].name : "no more");
			CHECK(0);
			break;
		}
		CHECK_EQ(strchr(marks, 'R') != NULL, (served[i].flags & R) != 0);
		CHECK_EQ(strchr(marks, 'C') != NULL, (served[i].flags & C) != 0);
		i++;
	}
	CHECK_EQ(i, SERVED);
	if (f)
		fclose(f);
}
