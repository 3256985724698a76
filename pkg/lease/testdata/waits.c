/* Copyright 2026 The Kontain Eventing Authors
 * SPDX-License-Identifier: Apache-2.0
 *
 * Reads its event and waits as many seconds as that says. */
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
	char in[16] = "";

	if (read(0, in, sizeof in - 1) < 0)
		return 1;
	sleep(atoi(in));
	return write(1, in, 1) != 1;
}
