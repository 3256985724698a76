/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * wordcount-c is a function: it reads one CloudEvent in structured JSON from
 * stdin and prints the counts of its text as JSON. That is the data of the
 * reply; the sink's `reply` settings give the attributes. */
#include "../internal/json.h"
#include "../internal/stdin.h"

/* Tells the receiver that trying this event again is no use. */
#define EXIT_PERMANENT 65

int main(void)
{
	struct json event, data, text;
	size_t len, lines = 0, words = 0;
	int in_word = 0;
	char *in = read_stdin(&len);

	if (!in)
		return 1;
	if (!json_parse(in, len, &event)) {
		fprintf(stderr, "wordcount-c: stdin is not JSON\n");
		return EXIT_PERMANENT;
	}
	if (!json_member(event, "data", &data)) {
		fprintf(stderr, "wordcount-c: the event has no data in JSON or text\n");
		return EXIT_PERMANENT;
	}
	if (!json_member(data, "text", &text))
		text = data;
	if (!json_is_string(text)) {
		fprintf(stderr, "wordcount-c: data must be a text or {\"text\": \"...\"}\n");
		return EXIT_PERMANENT;
	}
	char *decoded = malloc(text.len);
	if (!decoded || !json_string(text, decoded, text.len, &len)) {
		fprintf(stderr, "wordcount-c: out of memory\n");
		return 1;
	}
	for (size_t i = 0; i < len; i++) {
		char c = decoded[i];
		int space = c == ' ' || (c >= '\t' && c <= '\r');

		if (c == '\n')
			lines++;
		if (!space && !in_word)
			words++;
		in_word = !space;
	}
	printf("{\"lines\":%zu,\"words\":%zu,\"bytes\":%zu}\n", lines, words, len);
	if (fflush(stdout) != 0) {
		perror("wordcount-c: write stdout");
		return 1;
	}
	free(decoded);
	free(in);
	return 0;
}
