# Copyright 2026 The Kontain Eventing Authors
# SPDX-License-Identifier: Apache-2.0

import os, signal, subprocess, sys
print(subprocess.run(["tr", "a-z", "A-Z"], input="hello\n", text=True, capture_output=True).stdout, end="")
p = subprocess.Popen("echo out; echo err >&2; exit 3", shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
print(p.communicate(), p.returncode)
one = subprocess.Popen(["seq", "100"], stdout=subprocess.PIPE)
two = subprocess.Popen(["wc", "-l"], stdin=one.stdout, stdout=subprocess.PIPE)
one.stdout.close()
print(two.communicate()[0].strip(), one.wait())
sleeper = subprocess.Popen(["sleep", "30"]); sleeper.terminate(); print(sleeper.wait())
try:
    subprocess.run(["sleep", "30"], timeout=0.05)
except subprocess.TimeoutExpired as e:
    print("late", e.cmd)
try:
    subprocess.run(["/no/such/program"])
except FileNotFoundError as e:
    print(e.errno, e.filename)
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(w, b"from the child"); os._exit(7)
os.close(w)
print(os.read(r, 100), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
print(subprocess.check_output([sys.executable, "-c", "import os; print(os.environ['X'])"], env={"X": "y"}))
got = []
signal.signal(signal.SIGCHLD, lambda *a: got.append(1))
subprocess.run(["true"]); print(bool(got))
