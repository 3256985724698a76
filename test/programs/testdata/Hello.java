// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

import java.util.*;
import java.util.concurrent.*;
import java.util.stream.*;

public class Hello {
    public static void main(String[] args) throws Exception {
        System.out.println("hello " + Arrays.toString(args));
        ExecutorService pool = Executors.newFixedThreadPool(4);
        List<Future<Integer>> all = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            int n = i;
            all.add(pool.submit(() -> IntStream.range(0, 100000).map(x -> x % (n + 1)).sum()));
        }
        for (Future<Integer> f : all) System.out.print(f.get() + " ");
        pool.shutdown();
        System.out.println(pool.awaitTermination(10, TimeUnit.SECONDS));
        try {
            Object[] o = new String[1];
            o[0] = 1;
        } catch (ArrayStoreException e) {
            System.out.println(e.getMessage());
        }
        String s = null;
        try {
            System.out.println(s.length());
        } catch (NullPointerException e) {
            System.out.println("null");
        }
        try {
            deep(0);
        } catch (StackOverflowError e) {
            System.out.println("deep");
        }
        List<byte[]> garbage = new ArrayList<>();
        for (int i = 0; i < 2000; i++) {
            garbage.add(new byte[100000]);
            if (garbage.size() > 50) garbage.clear();
        }
        System.gc();
        System.out.println(Stream.of("b", "a").sorted().collect(Collectors.joining(",")));
        System.exit(3 - args.length - 2);
    }

    static int deep(int n) {
        return deep(n + 1) + 1;
    }
}
