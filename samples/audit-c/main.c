/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * audit-c is a function that never replies: it writes one line about each
 * event to stderr, which is the log. */
#include "../internal/json.h"
#include "../internal/stdin.h"

/* Tells the receiver that trying this event again is no use. */
#define EXIT_PERMANENT 65

/* Prints an attribute. Bytes that could break a line or a terminal are escaped:
 * who sends an event must not be able to forge the log. */
static void print_attribute(struct json event, const char *name)
{
	struct json v;
	char value[256];
	size_t len;

	fprintf(stderr, " %s=", name);
	if (!json_member(event, name, &v)) {
		fputs("-", stderr);
		return;
	}
	if (!json_string(v, value, sizeof value, &len)) {
		fputs("(not a text of at most 256 bytes)", stderr);
		return;
	}
	fputc('"', stderr);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)value[i];

		if (c < 0x20 || c == 0x7f || c == '"' || c == '\\' || c >= 0x80)
			fprintf(stderr, "\\x%02x", c);
		else
			fputc(c, stderr);
	}
	fputc('"', stderr);
}

int main(void)
{
	struct json event;
	size_t len;
	char *in = read_stdin(&len);

	if (!in)
		return 1;
	if (!json_parse(in, len, &event)) {
		fprintf(stderr, "audit-c: stdin is not JSON\n");
		return EXIT_PERMANENT;
	}
	fprintf(stderr, "audit:");
	print_attribute(event, "id");
	print_attribute(event, "source");
	print_attribute(event, "type");
	print_attribute(event, "subject");
	fprintf(stderr, " bytes=%zu\n", len);
	free(in);
	return 0;
}
