/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer of ACPI Machine Language: just what our DSDT needs. Packages nest; each is closed by aml_end, which writes its
 * length. The buffer is ours and fixed: running out sets `overflow`, which the builder checks once. ACPI 6.4, chapter 20.
 */
#ifndef USER_VMX_AML_H
#define USER_VMX_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AML_DEPTH 8
struct aml {
	uint8_t *buf;
	size_t cap, len;
	size_t open[AML_DEPTH]; /* where each open package's length goes */
	unsigned depth;
	bool overflow;
};
void aml_bytes(struct aml *a, const void *p, size_t n);
void aml_byte(struct aml *a, uint8_t v);
void aml_integer(struct aml *a, uint64_t v);
void aml_string(struct aml *a, const char *s);
void aml_eisaid(struct aml *a, const char *id); /* "PNP0A03" */
void aml_scope(struct aml *a, const char *path);  /* "\\_SB" or a plain name of four characters */
void aml_device(struct aml *a, const char *name);
void aml_name(struct aml *a, const char *name);   /* the object follows */
void aml_package(struct aml *a, uint8_t count);
void aml_end(struct aml *a);                      /* of scope, device, package */
/* A resource template is collected in place: begin, descriptors, end. */
struct aml_resources { uint8_t bytes[256]; size_t len; };
void res_io(struct aml_resources *r, uint16_t base, uint8_t count);
void res_irq(struct aml_resources *r, unsigned irq);
void res_word_bus(struct aml_resources *r, uint16_t min, uint16_t max);
void res_word_io(struct aml_resources *r, uint16_t min, uint16_t max);
void res_dword_memory(struct aml_resources *r, uint32_t min, uint32_t max, bool cacheable);
void aml_resources(struct aml *a, const struct aml_resources *r); /* as a buffer object */

#endif
