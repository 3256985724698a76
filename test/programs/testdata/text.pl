# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

use strict;
use warnings;
my %count;
$count{length $_}++ for qw(a bb cc ddd);
print join(",", map { "$_=$count{$_}" } sort keys %count), "\n";
my $text = "The quick brown fox";
(my $upper = $text) =~ s/(\w+)/\u\L$1/g;
print "$upper ", scalar reverse($text), "\n";
open(my $sort, "|-", "sort") or die; print $sort "z\ny\n"; close $sort; print "sort $?\n";
print "shell: ", `echo backticks`;
my $pid = fork // die; if (!$pid) { exit 9 } waitpid $pid, 0; print $? >> 8, "\n";
open(my $f, "+>", "$ENV{TMPDIR}/p") or die; print $f "x" x 10; seek $f, 5, 0; read $f, my $rest, 100; print length $rest, "\n";
local $SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 30 }; print "got $@";
printf "%.3f %s\n", atan2(1, 1) * 4, join " ", sort { $a <=> $b } 10, 9, 100;
