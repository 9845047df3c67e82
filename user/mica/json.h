/* SPDX-License-Identifier: Apache-2.0 */
/* JSON on standard output, just enough for listings: objects, arrays, strings, numbers. */
#ifndef USER_MICA_JSON_H
#define USER_MICA_JSON_H

#include <stdint.h>

void json_open(char bracket);                       /* '{' or '[' as the next element */
void json_open_key(const char *key, char bracket);
void json_close(char bracket);
void json_string(const char *key, const char *value);
void json_number(const char *key, uint64_t value);
void json_end(void);                                /* the line's end */

#endif
