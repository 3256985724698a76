/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef KONTAIN_SAMPLES_STDIN_H
#define KONTAIN_SAMPLES_STDIN_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* Reads all of stdin into memory. NULL when reading fails or memory is short;
 * the reason is then on stderr. */
static char *read_stdin(size_t *len)
{
	size_t cap = 16 << 10;
	char *text = malloc(cap);

	*len = 0;
	while (text) {
		*len += fread(text + *len, 1, cap - *len, stdin);
		if (*len < cap)
			break;
		char *more = realloc(text, cap * 2);
		if (!more)
			free(text);
		text = more;
		cap *= 2;
	}
	if (!text || ferror(stdin)) {
		perror("read stdin");
		free(text);
		return NULL;
	}
	return text;
}

#endif
