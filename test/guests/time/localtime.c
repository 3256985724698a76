// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Proves: without time zone files local time is UTC; dates format and parse;
// locale and number formatting of the C library work.
#include "guest.h"
#include <locale.h>

int main(void) {
	time_t t = 1700000000;
	struct tm tm;
	char buf[100];
	setenv("TZ", "UTC0", 1);
	tzset();
	CHECK(localtime_r(&t, &tm));
	CHECK(strftime(buf, sizeof buf, "%Y-%m-%dT%H:%M:%S%z %A %j", &tm));
	printf("%s\n", buf);
	CHECK(mktime(&tm) == t);
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	t = 1690000000;
	CHECK(localtime_r(&t, &tm));
	strftime(buf, sizeof buf, "%F %T %Z", &tm);
	printf("%s\n", buf);
	CHECK(setlocale(LC_ALL, "C"));
	printf("%.17g %e %a %'d\n", 0.1, 12345.678, 1.5, 1234567);
	double d;
	CHECK(sscanf("6.02e23", "%lf", &d) == 1 && d == 6.02e23);
	return 0;
}
