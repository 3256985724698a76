// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

#include <stdio.h>

int main(int argc, char **argv) {
    printf("hello %s %d\n", argv[1], argc);
    return 0;
}
