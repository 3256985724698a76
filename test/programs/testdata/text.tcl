# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

proc fib n { expr {$n < 2 ? $n : [fib [expr {$n - 1}]] + [fib [expr {$n - 2}]]} }
puts [fib 15]
puts [lsort -integer {10 9 100}]
puts [exec sort << "b\na"]
set f [open $env(TMPDIR)/t w]; puts $f text; close $f
puts [file size $env(TMPDIR)/t]
set pipe [open "|cat" r+]; fconfigure $pipe -buffering line; puts $pipe through; puts [gets $pipe]; close $pipe
after 20 { set done 1 }; vwait done; puts waited
puts [catch {exec sh -c {exit 3}} message options]
puts [lindex [dict get $options -errorcode] 2]
set server [socket -server accept -myaddr 127.0.0.1 0]
proc accept {s host port} { puts $s hello; close $s }
set s [socket 127.0.0.1 [lindex [fconfigure $server -sockname] 2]]
fileevent $s readable { puts [gets $s]; set answered 1 }
vwait answered
