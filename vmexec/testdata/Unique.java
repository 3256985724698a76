// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

import java.security.SecureRandom;
import java.util.Random;
import java.util.UUID;

/** Prints, after its event, what programs take for unique: TestUniqueness. */
public class Unique {
    public static void main(String[] args) throws Exception {
        SecureRandom used = new SecureRandom();
        used.nextInt();
        UUID.randomUUID();
        SecureRandom seeded = SecureRandom.getInstance("SHA1PRNG");
        seeded.nextInt();
        SecureRandom drbg = SecureRandom.getInstance("DRBG");
        drbg.nextInt();
        Random random = new Random();
        String early = UUID.randomUUID().toString();
        Object object = new Object();
        System.in.readAllBytes();
        System.out.println("secure_random " + new SecureRandom().nextLong());
        System.out.println("used " + used.nextLong());
        System.out.println("uuid " + UUID.randomUUID());
        System.out.println("strong " + SecureRandom.getInstance("NativePRNGBlocking").nextLong());
        System.out.println("time " + System.currentTimeMillis() + System.nanoTime());
        System.out.println("pid " + ProcessHandle.current().pid());
        System.out.println("new_random " + new Random().nextLong());
        System.out.println("seeded " + seeded.nextLong());
        System.out.println("drbg " + drbg.nextLong());
        System.out.println("random " + random.nextLong());
        System.out.println("identity " + object.hashCode());
        System.out.println("early " + early);
    }
}
