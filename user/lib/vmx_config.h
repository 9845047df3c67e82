/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The .vmx file: `key = "value"` lines, keys in any case, `#` comments, `|XX` hex escapes in values. Keys that mica does not
 * know are ignored; the last of two equal keys counts. vmx, init and mica read it with this one parser. Format: docs/vmx.md.
 */
#ifndef USER_LIB_VMX_CONFIG_H
#define USER_LIB_VMX_CONFIG_H

#include "abi/vmm.h"
#include "user/lib/error.h"

#include <stddef.h>
#include <stdint.h>

#define VMX_FILE_MAX (256u << 10) /* a .vmx longer than this is refused */
#define VMX_PATH_MAX 1024
#define VMX_VALUE_MAX 4096        /* of any value, without the final NUL */

enum vmx_serial { VMX_SERIAL_CONSOLE, VMX_SERIAL_FILE };
struct vmx_config {
	char name[VMM_NAME_MAX];      /* displayName, else the file's base name */
	uint64_t memory;              /* bytes */
	uint32_t vcpus, cores_per_socket;
	uint32_t shares;              /* of the whole VM */
	uint32_t hw_version;
	uint8_t bios_uuid[16];
	bool serial_present;
	enum vmx_serial serial_type;  /* FILE: serial0.fileType is "file" or "device" with a fileName; else what vmx was started with */
	char serial_file[VMX_PATH_MAX];
	char kernel[VMX_PATH_MAX];
	char initrd[VMX_VALUE_MAX + 1]; /* "FILE args,FILE2 args" */
	char append[VMX_VALUE_MAX + 1];
	bool debug_exit, autostart, reset_exits, no_x2apic;
	uint32_t torture_exits, torture_memory;
};

/* text need not end in NUL. `file` names it in errors ("FILE:LINE: …") and gives the default name. */
bool vmx_config_parse(const char *file, const char *text, size_t len, struct vmx_config *c, struct uerror *err);
bool vmx_config_load(const char *path, struct vmx_config *c, struct uerror *err);
/* The path that `name`, written in the file at vmx_path, means: relative names are beside that file. False when too long. */
bool vmx_config_path(const char *vmx_path, const char *name, char *out, size_t size);

#endif
