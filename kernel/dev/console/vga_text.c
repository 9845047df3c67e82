/* SPDX-License-Identifier: Apache-2.0 */
/* VGA text mode 3, as firmware leaves it: 80 by 25 cells of character and attribute. */
#include "dev/console/console_priv.h"

#define ATTRIBUTE 0x07
#define COLS 80
#define ROWS 25

static volatile uint16_t *cell_base;

static void draw(unsigned c, unsigned r, uint8_t ch) { cell_base[r * COLS + c] = (uint16_t)(ATTRIBUTE << 8 | ch); }

bool vga_text_init(uint8_t *base, struct screen_ops *ops)
{
	cell_base = (volatile uint16_t *)base;
	*ops = (struct screen_ops){ .draw = draw, .cols = COLS, .rows = ROWS, .jump = 1 };
	return true;
}
