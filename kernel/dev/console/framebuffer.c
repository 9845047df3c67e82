/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text on a linear framebuffer of 32 or 24 bits per pixel, white on black: the order of the colours
 * does not matter then. Glyphs are 8 by 16 (font.h). Writes only: reading video memory is slow.
 */
#include "dev/console/console_priv.h"
#include "font.h" /* made at build time */

#define GLYPH_W 8
#define GLYPH_H FONT_HEIGHT

static volatile uint8_t *base;
static uint32_t pitch;
static unsigned pixel_bytes;

static void draw_row(volatile uint8_t *p, uint8_t bits)
{
	for (unsigned x = 0; x < GLYPH_W; x++, bits = (uint8_t)(bits << 1)) {
		uint32_t colour = bits & 0x80 ? 0x00c0c0c0 : 0;

		if (pixel_bytes == 4)
			((volatile uint32_t *)p)[x] = colour;
		else
			for (unsigned b = 0; b < 3; b++)
				p[x * 3 + b] = (uint8_t)colour;
	}
}

static void draw(unsigned col, unsigned row, uint8_t c)
{
	const uint8_t *glyph = c >= FONT_FIRST && c < FONT_FIRST + FONT_COUNT ? font_glyph[c - FONT_FIRST] : font_glyph['?' - FONT_FIRST];
	volatile uint8_t *p = base + (uint64_t)row * GLYPH_H * pitch + col * GLYPH_W * pixel_bytes;

	for (unsigned y = 0; y < GLYPH_H; y++, p += pitch)
		draw_row(p, glyph[y]);
}

bool framebuffer_init(uint8_t *b, const struct boot_framebuffer *fb, struct screen_ops *ops)
{
	unsigned cols = fb->width / GLYPH_W, rows = fb->height / GLYPH_H;

	if (fb->kind != 1 || (fb->bpp != 32 && fb->bpp != 24) || cols < 20 || rows < 4 || fb->pitch / (fb->bpp / 8) < fb->width)
		return false;
	base = b;
	pitch = fb->pitch;
	pixel_bytes = fb->bpp / 8;
	cols = MIN(cols, 200u);
	rows = MIN(rows, SCREEN_CELLS / cols);
	*ops = (struct screen_ops){ .draw = draw, .cols = cols, .rows = rows, .jump = 8 };
	return true;
}
