/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * A small strict JSON reader (RFC 8259) for the C samples. It allocates
 * nothing: a value is a range of the text that was read. */
#ifndef KONTAIN_SAMPLES_JSON_H
#define KONTAIN_SAMPLES_JSON_H

#include <stdbool.h>
#include <stddef.h>

/* Deeper nesting is refused, so that hostile text cannot exhaust the stack. */
#define JSON_MAX_DEPTH 64

/* A checked JSON value inside a text: its bytes, without space around them. */
struct json {
	const char *text;
	size_t len;
};

/* Checks that text[0..len) is exactly one JSON value in UTF-8 and returns its
 * range in *out. False when it is not. */
bool json_parse(const char *text, size_t len, struct json *out);

/* Finds a member of an object by its decoded name. Of equal names the last one
 * counts. False when v is not an object or has no such member. */
bool json_member(struct json v, const char *name, struct json *out);

/* True for a string value. */
bool json_is_string(struct json v);

/* Decodes a string value into buf, at most cap bytes, and sets *len. False when
 * v is not a string or does not fit; v.len bytes are always enough. The result
 * may hold NUL bytes and is not terminated. */
bool json_string(struct json v, char *buf, size_t cap, size_t *len);

#endif
