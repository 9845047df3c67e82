/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plain terminal on the screen, over whatever can draw one character: lines wrap, the text scrolls,
 * escape sequences are swallowed. What the screen shows is kept here, so nothing is read back from
 * video memory and scrolling draws only the cells that change.
 *
 * Whoever calls serializes (console.c).
 */
#include "dev/console/console_priv.h"

static const struct screen_ops *ops;
static uint8_t cells[SCREEN_CELLS];
static unsigned col, row;
static enum { TEXT, ESCAPE, SEQUENCE } escape;

static void set_cell(unsigned c, unsigned r, uint8_t ch)
{
	uint8_t *cell = &cells[r * ops->cols + c];

	if (*cell == ch)
		return;
	*cell = ch;
	ops->draw(c, r, ch);
}

static void scroll(void)
{
	unsigned by = MIN(ops->jump, ops->rows - 1);

	for (unsigned r = 0; r < ops->rows; r++)
		for (unsigned c = 0; c < ops->cols; c++)
			set_cell(c, r, r + by < ops->rows ? cells[(r + by) * ops->cols + c] : ' ');
	row -= by;
}

static void newline(void)
{
	col = 0;
	if (++row == ops->rows)
		scroll();
}

static void control(uint8_t c)
{
	switch (c) {
	case '\n':
		newline();
		break;
	case '\r':
		col = 0;
		break;
	case '\b':
		col -= col > 0;
		break;
	case '\t':
		col = MIN((unsigned)ALIGN_UP(col + 1, 8), ops->cols - 1);
		break;
	case 0x1b:
		escape = ESCAPE;
		break;
	}
}

/* ESC letter, or ESC [ parameters letter. */
static void escaped(uint8_t c)
{
	if (escape == ESCAPE && c == '[')
		escape = SEQUENCE;
	else if (escape == ESCAPE || (c >= 0x40 && c <= 0x7e))
		escape = TEXT;
}

void screen_write(const char *text, size_t n)
{
	for (size_t i = 0; i < n && ops; i++) {
		uint8_t c = (uint8_t)text[i];

		if (escape != TEXT) {
			escaped(c);
		} else if (c < ' ') {
			control(c);
		} else {
			if (col == ops->cols)
				newline();
			set_cell(col++, row, c);
		}
	}
}

void screen_start(const struct screen_ops *o)
{
	ops = NULL;
	if (!o)
		return;
	memset(cells, ' ', sizeof(cells));
	col = row = 0;
	escape = TEXT;
	ops = o;
	for (unsigned r = 0; r < ops->rows; r++)
		for (unsigned c = 0; c < ops->cols; c++)
			ops->draw(c, r, ' ');
}
