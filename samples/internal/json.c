/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <stdint.h>
#include <string.h>

struct reader {
	const unsigned char *p, *end;
};

static void skip_space(struct reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

static bool take(struct reader *r, unsigned char c)
{
	if (r->p == r->end || *r->p != c)
		return false;
	r->p++;
	return true;
}

/* Where decoded bytes go; with buf NULL they are only counted. */
struct sink {
	char *buf;
	size_t cap, len;
	bool full;
};

static void put(struct sink *s, unsigned char c)
{
	if (s->buf) {
		if (s->len == s->cap) {
			s->full = true;
			return;
		}
		s->buf[s->len] = (char)c;
	}
	s->len++;
}

static void put_utf8(struct sink *s, uint32_t c)
{
	if (c < 0x80) {
		put(s, (unsigned char)c);
	} else if (c < 0x800) {
		put(s, (unsigned char)(0xc0 | c >> 6));
		put(s, (unsigned char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		put(s, (unsigned char)(0xe0 | c >> 12));
		put(s, (unsigned char)(0x80 | (c >> 6 & 0x3f)));
		put(s, (unsigned char)(0x80 | (c & 0x3f)));
	} else {
		put(s, (unsigned char)(0xf0 | c >> 18));
		put(s, (unsigned char)(0x80 | (c >> 12 & 0x3f)));
		put(s, (unsigned char)(0x80 | (c >> 6 & 0x3f)));
		put(s, (unsigned char)(0x80 | (c & 0x3f)));
	}
}

static bool hex4(struct reader *r, uint32_t *out)
{
	uint32_t v = 0;

	if (r->end - r->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		unsigned char c = *r->p++;

		v <<= 4;
		if (c >= '0' && c <= '9')
			v |= c - '0';
		else if (c >= 'a' && c <= 'f')
			v |= c - 'a' + 10;
		else if (c >= 'A' && c <= 'F')
			v |= c - 'A' + 10;
		else
			return false;
	}
	*out = v;
	return true;
}

/* One escape, after its backslash. */
static bool escape(struct reader *r, struct sink *s)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	const char *which;
	uint32_t c, low;

	if (r->p == r->end)
		return false;
	if (*r->p != 'u') {
		which = *r->p ? strchr(from, *r->p) : NULL;
		if (!which)
			return false;
		r->p++;
		put(s, (unsigned char)to[which - from]);
		return true;
	}
	r->p++;
	if (!hex4(r, &c))
		return false;
	if (c >= 0xd800 && c < 0xdc00) { /* half of a pair: the other must follow */
		if (!take(r, '\\') || !take(r, 'u') || !hex4(r, &low) || low < 0xdc00 || low > 0xdfff)
			return false;
		c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	} else if (c >= 0xdc00 && c < 0xe000) {
		return false;
	}
	put_utf8(s, c);
	return true;
}

/* One character of several bytes; overlong forms and surrogates are refused
 * (RFC 3629, section 4). */
static bool utf8(struct reader *r, struct sink *s)
{
	unsigned char first = *r->p, low = 0x80, high = 0xbf;
	int more;

	if (first >= 0xc2 && first <= 0xdf) {
		more = 1;
	} else if (first >= 0xe0 && first <= 0xef) {
		more = 2;
		if (first == 0xe0)
			low = 0xa0;
		if (first == 0xed)
			high = 0x9f;
	} else if (first >= 0xf0 && first <= 0xf4) {
		more = 3;
		if (first == 0xf0)
			low = 0x90;
		if (first == 0xf4)
			high = 0x8f;
	} else {
		return false;
	}
	put(s, *r->p++);
	for (; more > 0; more--) {
		if (r->p == r->end || *r->p < low || *r->p > high)
			return false;
		low = 0x80;
		high = 0xbf;
		put(s, *r->p++);
	}
	return true;
}

static bool string(struct reader *r, struct sink *s)
{
	if (!take(r, '"'))
		return false;
	while (r->p < r->end) {
		unsigned char c = *r->p;

		if (c == '"') {
			r->p++;
			return true;
		}
		if (c < 0x20)
			return false;
		if (c == '\\') {
			r->p++;
			if (!escape(r, s))
				return false;
		} else if (c < 0x80) {
			put(s, c);
			r->p++;
		} else if (!utf8(r, s)) {
			return false;
		}
	}
	return false;
}

static bool digits(struct reader *r)
{
	const unsigned char *start = r->p;

	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		r->p++;
	return r->p > start;
}

static bool number(struct reader *r)
{
	take(r, '-');
	if (!take(r, '0') && !digits(r))
		return false;
	if (take(r, '.') && !digits(r))
		return false;
	if (r->p < r->end && (*r->p == 'e' || *r->p == 'E')) {
		r->p++;
		if (!take(r, '+'))
			take(r, '-');
		return digits(r);
	}
	return true;
}

static bool word(struct reader *r, const char *w)
{
	size_t n = strlen(w);

	if ((size_t)(r->end - r->p) < n || memcmp(r->p, w, n) != 0)
		return false;
	r->p += n;
	return true;
}

static bool value(struct reader *r, int depth);

/* The elements of an array or, with names, the members of an object. */
static bool elements(struct reader *r, unsigned char close, bool names, int depth)
{
	struct sink nowhere = {0};

	r->p++;
	skip_space(r);
	if (take(r, close))
		return true;
	for (;;) {
		if (names) {
			skip_space(r);
			if (!string(r, &nowhere))
				return false;
			skip_space(r);
			if (!take(r, ':'))
				return false;
		}
		if (!value(r, depth))
			return false;
		if (take(r, close))
			return true;
		if (!take(r, ','))
			return false;
	}
}

/* One value and the space around it. */
static bool value(struct reader *r, int depth)
{
	struct sink nowhere = {0};
	bool ok;

	skip_space(r);
	if (r->p == r->end || depth > JSON_MAX_DEPTH)
		return false;
	switch (*r->p) {
	case '{':
		ok = elements(r, '}', true, depth + 1);
		break;
	case '[':
		ok = elements(r, ']', false, depth + 1);
		break;
	case '"':
		ok = string(r, &nowhere);
		break;
	case 't':
		ok = word(r, "true");
		break;
	case 'f':
		ok = word(r, "false");
		break;
	case 'n':
		ok = word(r, "null");
		break;
	default:
		ok = number(r);
	}
	skip_space(r);
	return ok;
}

static struct reader reader_of(const char *text, size_t len)
{
	struct reader r = {(const unsigned char *)text, (const unsigned char *)text + len};

	return r;
}

/* The range from start to the reader's place, without the space at its end. */
static struct json range(const unsigned char *start, const struct reader *r)
{
	const unsigned char *end = r->p;
	struct json v;

	while (end > start && strchr(" \t\n\r", end[-1]) && end[-1])
		end--;
	v.text = (const char *)start;
	v.len = (size_t)(end - start);
	return v;
}

bool json_parse(const char *text, size_t len, struct json *out)
{
	struct reader r = reader_of(text, len);
	const unsigned char *start;

	skip_space(&r);
	start = r.p;
	if (!value(&r, 0) || r.p != r.end)
		return false;
	*out = range(start, &r);
	return true;
}

/* Compares a decoded name with the string that starts at the reader. */
static bool same_name(struct reader r, const char *name)
{
	size_t n = strlen(name);
	char buf[64];
	struct sink s = {buf, sizeof buf, 0, false};

	return n <= sizeof buf && string(&r, &s) && !s.full && s.len == n && memcmp(buf, name, n) == 0;
}

bool json_member(struct json v, const char *name, struct json *out)
{
	struct reader r = reader_of(v.text, v.len);
	struct sink nowhere = {0};
	bool found = false;

	if (!take(&r, '{'))
		return false;
	skip_space(&r);
	while (r.p < r.end && *r.p == '"') {
		bool same = same_name(r, name);
		const unsigned char *start;

		if (!string(&r, &nowhere))
			return false;
		skip_space(&r);
		if (!take(&r, ':'))
			return false;
		skip_space(&r);
		start = r.p;
		if (!value(&r, 1))
			return false;
		if (same) {
			*out = range(start, &r);
			found = true;
		}
		if (!take(&r, ','))
			break;
		skip_space(&r);
	}
	return found;
}

bool json_is_string(struct json v)
{
	return v.len > 0 && v.text[0] == '"';
}

bool json_string(struct json v, char *buf, size_t cap, size_t *len)
{
	struct reader r = reader_of(v.text, v.len);
	struct sink s = {buf, cap, 0, false};

	if (!string(&r, &s) || s.full)
		return false;
	*len = s.len;
	return true;
}
