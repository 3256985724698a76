// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/egress"
	"kontain.dev/eventing/pkg/egress/policy"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/vmexec"
)

// guestPath is the PATH of a program when -e PATH=… does not set another.
const guestPath = image.DefaultPath

// runSpec is what one `kontain run` runs.
type runSpec struct {
	Platform vmexec.Kind
	// SayPlatform: say what was picked even when it is the best there is.
	SayPlatform bool

	Root   string // host folder; empty = a root that holds the program alone
	Owners string // of the files of Root; see lease.OpenRoot
	User   vmexec.User
	Path   string // absolute path of the program in the root
	Args   []string
	Env    []string
	Dir    string
	Egress []string // what the program may connect to outside
	Limits vmexec.Limits
}

// runFunc runs a program to its end. Tests put another in place of runInVM.
type runFunc func(context.Context, runSpec, vmexec.IO) (*vmexec.Result, error)

type runFlags struct {
	platform string
	root     string
	image    string
	pull     string
	command  []string
	user     string
	images   imageFlags
	cwd      string
	memory   string
	timeout  time.Duration
	egress   []string
	env      []string
	stats    bool
	strace   bool
	traceTo  string
	output   outputFlag
}

func newRun(s Streams, run runFunc) *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use:   "run [flags] -- PROGRAM [ARG]...\n  kontain run [flags] --image REF [-- ARG...]",
		Short: "Run a program in a virtual machine",
		Long: `Run a Linux program (ELF, x86-64) in a virtual machine of its own, with stdin,
stdout and stderr passed through.

The program sees no file of this machine but itself, unless --root names a
folder to show; a dynamically linked program needs one with its libraries. What
it writes stays in memory and is gone at its end. Of the environment it gets
PATH, HOME and what -e gives.

With --image the program, its arguments, environment and working folder are
those that the container image names; ARGs replace the image's own arguments
(cmd), and --command its program (entrypoint), as args and command of a
Kubernetes container do.

Exit status: that of the program; 128+n when signal n ended it; 137 when a limit
ended it; 125 when the virtual machine could not be started, 126 when the file
is not a program that can run here, 127 when it was not found.`,
		Example: `  kontain run -- ./hello world
  echo one two three | kontain run -- ./wordcount
  kontain run --root / --cwd /etc -- cat os-release
  kontain run --memory 64Mi --timeout 2s --stats -- ./hello
  kontain run --egress example.com:443 --root / -- curl https://example.com/
  kontain run --strace --strace-output calls.txt -- ./hello
  kontain run --stats --output json -- ./hello 2>stats.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 && f.image == "" {
				return usageErrorf("run: no program given; write: kontain run -- PROGRAM [ARG]...")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() > 0 {
				return usageErrorf("run: %q before --: flags end there", args[0])
			}
			spec, release, err := f.spec(cmd.Context(), s, args)
			if err != nil {
				return err
			}
			defer release()
			spec.SayPlatform = spec.Platform == vmexec.Auto && cmd.Flags().Changed("platform")
			return runProgram(cmd.Context(), s, run, spec, &f)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows PROGRAM belongs to it
	cmd.Flags().StringVar(&f.platform, "platform", string(vmexec.Auto), platformUsage)
	cmd.Flags().StringVar(&f.root, "root", "", "host `folder` shown read-only as the program's file system (default: the program alone)")
	cmd.Flags().StringVar(&f.image, "image", "", "container `image` to run: REGISTRY/REPOSITORY:TAG, a path, or another reference of kontain image")
	cmd.Flags().StringVar(&f.pull, "pull", "IfNotPresent", "when the registry of --image is asked: Always, IfNotPresent or Never")
	cmd.Flags().StringArrayVar(&f.command, "command", nil, "`word` of the command in place of the image's entrypoint; may be repeated")
	cmd.Flags().StringVar(&f.user, "user", "", "`USER[:GROUP]` in place of the image's, by number or by its /etc/passwd and /etc/group")
	f.images.add(cmd)
	cmd.Flags().StringVar(&f.cwd, "cwd", "", "working `folder` in the root (default /, or the current one with --root /)")
	cmd.Flags().StringVar(&f.memory, "memory", "128Mi", "`limit` of the program's memory, such as 64Mi or 1Gi")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "wall-clock `limit`, such as 500ms or 10s (default: none)")
	cmd.Flags().StringArrayVarP(&f.env, "env", "e", nil, "`NAME=VALUE` for the program's environment; NAME alone passes yours on; may be repeated")
	cmd.Flags().StringArrayVar(&f.egress, "egress", nil, "`host` that the program may connect to, as HOST, HOST:PORT or HOST:FIRST-LAST with a name, *.NAME, an address or a network; may be repeated (default: no network)")
	cmd.Flags().BoolVar(&f.stats, "stats", false, "print what the run cost to stderr")
	cmd.Flags().BoolVar(&f.strace, "strace", false, "print the program's system calls to stderr, as strace(1) does")
	cmd.Flags().StringVar(&f.traceTo, "strace-output", "", "`file` for --strace in place of stderr")
	addOutputFlag(cmd, &f.output)
	cmd.Flags().Lookup("output").Usage = "`form` of --stats: text or json"
	return cmd
}

// spec checks the flags and finds the program.
func (f *runFlags) spec(ctx context.Context, s Streams, args []string) (_ runSpec, release func(), _ error) {
	spec := runSpec{Platform: vmexec.Kind(f.platform), Args: args}
	if err := checkPlatform("run", f.platform); err != nil {
		return spec, nil, err
	}
	memory, err := resource.ParseQuantity(f.memory)
	if err != nil {
		return spec, nil, usageErrorf("run: --memory %q: not a quantity such as 64Mi or 1Gi", f.memory)
	}
	bytes := memory.Value()
	if bytes < vmexec.MinMemory || bytes > vmexec.MaxMemory {
		return spec, nil, usageErrorf("run: --memory %s: must be between %dMi and %dGi", f.memory, vmexec.MinMemory>>20, int64(vmexec.MaxMemory)>>30)
	}
	if f.timeout < 0 {
		return spec, nil, usageErrorf("run: --timeout %s: must not be negative", f.timeout)
	}
	spec.Limits = vmexec.Limits{Memory: uint64(bytes), Wall: f.timeout}
	spec.Egress = f.egress
	if _, err := policy.Parse(spec.Egress); err != nil {
		return spec, nil, usageErrorf("run: --egress: %w", err)
	}
	if spec.Env, err = guestEnv(f.env); err != nil {
		return spec, nil, err
	}
	if f.traceTo != "" && !f.strace {
		return spec, nil, usageErrorf("run: --strace-output says where --strace goes: give --strace too")
	}
	if f.output == outputJSON && !f.stats {
		return spec, nil, usageErrorf("run: --output json is the form of --stats: give --stats too")
	}
	switch {
	case f.image != "" && f.root != "":
		return spec, nil, usageErrorf("run: --image brings its own root: --root cannot be given with it")
	case f.image == "" && len(f.command) > 0:
		return spec, nil, usageErrorf("run: --command goes with --image; write the program after --")
	case f.image == "" && f.user != "":
		return spec, nil, usageErrorf("run: --user goes with --image")
	}
	if f.image != "" {
		release, err := f.placeImage(ctx, s, &spec, args)
		return spec, release, err
	}
	return spec, func() {}, f.place(&spec, args[0])
}

// placeImage gets an image and takes from it what to run. The function that is
// returned gives the image back.
func (f *runFlags) placeImage(ctx context.Context, s Streams, spec *runSpec, args []string) (release func(), err error) {
	policy, err := checkPullPolicy("run", f.pull)
	if err != nil {
		return nil, err
	}
	if f.cwd != "" && !path.IsAbs(f.cwd) {
		return nil, usageErrorf("run: --cwd %s: must be an absolute path in the program's root", f.cwd)
	}
	if spec.Env, err = userEnv(nil, f.env); err != nil {
		return nil, err
	}
	failed := func(err error) error { return &exitError{ExitMonitor, fmt.Errorf("run: %w", err)} }
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	store, done, err := f.images.open(s)
	if err != nil {
		return nil, failed(err)
	}
	defer done()
	got, err := store.Get(ctx, image.Request{Ref: f.image, Policy: policy})
	if err != nil {
		return nil, failed(err)
	}
	release = func() { _ = got.Close() } // the lock is gone with the process at the latest
	if f.cwd != "" {
		got.Config.WorkingDir = f.cwd
	}
	if f.user != "" {
		got.Config.User = f.user
	}
	process, err := got.Process(f.command, args, spec.Env)
	if err != nil {
		release()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &exitError{ExitNoProg, fmt.Errorf("run: %w", err)}
		}
		return nil, failed(err)
	}
	spec.Root, spec.Path, spec.Args, spec.Env, spec.Dir = got.Root, process.Path, process.Args, process.Env, process.Dir
	spec.Owners, spec.User = got.Owners, vmexec.User(process.User)
	return release, nil
}

// place finds the program and decides on the root and the working folder.
func (f *runFlags) place(spec *runSpec, program string) error {
	if f.cwd != "" && !path.IsAbs(f.cwd) {
		return usageErrorf("run: --cwd %s: must be an absolute path in the program's root", f.cwd)
	}
	spec.Dir = f.cwd
	if f.root == "" {
		if spec.Dir == "" {
			spec.Dir = "/"
		}
		found, err := exec.LookPath(program)
		if err != nil && !errors.Is(err, exec.ErrDot) {
			return notRunnable(program, err)
		}
		if spec.Path, err = filepath.Abs(found); err != nil {
			return &exitError{ExitMonitor, fmt.Errorf("run: current folder: %w", err)}
		}
		return nil
	}

	root, err := filepath.Abs(f.root)
	if err != nil {
		return &exitError{ExitMonitor, fmt.Errorf("run: current folder: %w", err)}
	}
	if info, err := os.Stat(root); err != nil {
		return usageErrorf("run: --root: %w", err)
	} else if !info.IsDir() {
		return usageErrorf("run: --root %s: not a folder", f.root)
	}
	spec.Root = root
	if spec.Dir == "" {
		spec.Dir = "/"
		if root == "/" {
			if spec.Dir, err = os.Getwd(); err != nil {
				return &exitError{ExitMonitor, fmt.Errorf("run: current folder: %w", err)}
			}
		}
	}
	if strings.Contains(program, "/") {
		spec.Path = program
		if !path.IsAbs(program) {
			spec.Path = path.Join(spec.Dir, program)
		}
		return nil
	}
	return spec.searchPath(program)
}

// searchPath looks a name without a slash up in the PATH of the program's own
// environment, below its root. Links are left to the virtual machine to follow:
// here they would leave the root.
func (spec *runSpec) searchPath(program string) error {
	list := guestPath
	for _, kv := range spec.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			list = v
		}
	}
	for _, dir := range filepath.SplitList(list) {
		if !path.IsAbs(dir) {
			dir = path.Join(spec.Dir, dir)
		}
		info, err := os.Lstat(filepath.Join(spec.Root, dir, program))
		if err == nil && !info.IsDir() && (info.Mode()&0o111 != 0 || info.Mode()&fs.ModeSymlink != 0) {
			spec.Path = path.Join(dir, program)
			return nil
		}
	}
	return &exitError{ExitNoProg, fmt.Errorf("run: %s: not found in %s below %s", program, list, spec.Root)}
}

// notRunnable turns the failure of a look-up into the exit status of a shell.
func notRunnable(program string, err error) error {
	reason := err
	if e, ok := errors.AsType[*exec.Error](err); ok {
		reason = e.Err
	}
	status := ExitNotExec
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) {
		status = ExitNoProg
	}
	return &exitError{status, fmt.Errorf("run: %s: %w", program, reason)}
}

// guestEnv makes the environment of the program from the values of -e.
func guestEnv(flags []string) ([]string, error) {
	return userEnv([]string{"PATH=" + guestPath, "HOME=/"}, flags)
}

// userEnv adds the values of -e to an environment.
func userEnv(env, flags []string) ([]string, error) {
	for _, kv := range flags {
		name, _, hasValue := strings.Cut(kv, "=")
		if name == "" {
			return nil, usageErrorf("run: -e %q: must be NAME=VALUE or NAME", kv)
		}
		if strings.ContainsRune(kv, 0) {
			return nil, usageErrorf("run: -e %s: contains a NUL byte", name)
		}
		if !hasValue {
			value, ok := os.LookupEnv(name)
			if !ok {
				continue
			}
			kv = name + "=" + value
		}
		env = setEnv(env, kv)
	}
	return env, nil
}

// setEnv adds NAME=value, in place of an earlier value of NAME.
func setEnv(env []string, kv string) []string {
	name, _, _ := strings.Cut(kv, "=")
	for i, old := range env {
		if strings.HasPrefix(old, name+"=") {
			env[i] = kv
			return env
		}
	}
	return append(env, kv)
}

// runProgram runs and reports. The first SIGINT or SIGTERM ends the program;
// a second one ends kontain at once.
func runProgram(ctx context.Context, s Streams, run runFunc, spec runSpec, f *runFlags) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	caught := make(chan syscall.Signal, 1)
	go func() {
		select {
		case sig := <-signals:
			signal.Stop(signals)
			if n, ok := sig.(syscall.Signal); ok {
				caught <- n
			}
			cancel()
		case <-ctx.Done():
		}
	}()

	std := vmexec.IO{Stdin: s.In, Stdout: s.Out, Stderr: s.Err}
	closeTrace, err := f.openTrace(&std)
	if err != nil {
		return err
	}
	result, err := run(ctx, spec, std)
	traceErr := closeTrace()
	if err != nil {
		return runError(err, spec)
	}
	if traceErr != nil {
		fmt.Fprintf(s.Err, "kontain: the trace is not whole: %v\n", traceErr)
	}
	status := result.ExitStatus()
	if result.Reason == vmexec.Canceled {
		select {
		case sig := <-caught:
			status = 128 + int(sig)
		default:
		}
	}
	if result.Reason != vmexec.Exited {
		fmt.Fprintf(s.Err, "kontain: %s: %s\n", spec.Args[0], endOf(result))
	}
	if f.stats {
		if err := printStats(s.Err, f.output, result, status); err != nil {
			return err
		}
	}
	if status != 0 {
		return &exitError{status: status}
	}
	return nil
}

// openTrace connects --strace. What it returns is called after the run, and gives the
// error that ended the trace early.
func (f *runFlags) openTrace(std *vmexec.IO) (finish func() error, err error) {
	switch {
	case !f.strace:
		return func() error { return nil }, nil
	case f.traceTo == "":
		both := &lockedWriter{w: std.Stderr} // the program's stderr is written by another goroutine
		std.Stderr, std.Trace = both, both
		return func() error { return nil }, nil
	}
	file, err := os.Create(f.traceTo)
	if err != nil {
		return nil, &exitError{ExitMonitor, fmt.Errorf("run: --strace-output: %w", err)}
	}
	w := bufio.NewWriter(file)
	std.Trace = w
	return func() error { return errors.Join(w.Flush(), file.Close()) }, nil
}

// lockedWriter lets several goroutines write to one writer.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// runError picks the exit status of a run that did not happen.
func runError(err error, spec runSpec) error {
	status := ExitMonitor
	if _, ok := errors.AsType[*vmexec.ProgramError](err); ok {
		status = ExitNotExec
		if errors.Is(err, fs.ErrNotExist) {
			status = ExitNoProg
			if spec.Root == "" { // the program was there: its loader was not
				err = fmt.Errorf("%w (a dynamically linked program needs a root that holds its libraries, such as --root /)", err)
			}
		}
	}
	if _, ok := errors.AsType[*vmexec.UnavailableError](err); ok {
		err = fmt.Errorf("%w; `kontain doctor` says what this machine offers", err)
	}
	return &exitError{status, fmt.Errorf("run: %w", err)}
}

// endOf says in one line how a program ended that did not exit by itself.
func endOf(r *vmexec.Result) string {
	if r.Message != "" {
		return r.Message
	}
	if r.Death != nil {
		text := fmt.Sprintf("killed by %s at rip %#x", signalName(r.Death.Signal), r.Death.RIP)
		if r.Death.Vector == 14 {
			text += fmt.Sprintf(", page fault at address %#x", r.Death.Addr)
		}
		return text
	}
	return "ended: " + r.Reason.String()
}

// signalName is the name of a signal, such as SIGSEGV, or its number.
func signalName(n int) string {
	if name := unix.SignalName(syscall.Signal(n)); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", n)
}

// runInVM is the runFunc of the product.
func runInVM(ctx context.Context, spec runSpec, io vmexec.IO) (_ *vmexec.Result, err error) {
	host, note, err := openPlatform(spec.Platform)
	if err != nil {
		return nil, err
	}
	if spec.SayPlatform || host.Kind() != vmexec.KVM {
		fmt.Fprintln(io.Stderr, "kontain: "+note)
	}
	closeAfter := func(what string, f func() error) {
		if e := f(); e != nil && err == nil {
			err = fmt.Errorf("close %s: %w", what, e)
		}
	}
	defer closeAfter("platform", host.Close)

	var root *vmexec.Root
	if spec.Root == "" {
		root, err = vmexec.ProgramRoot(spec.Path)
	} else {
		root, err = lease.OpenRoot(spec.Root, spec.Owners)
	}
	if err != nil {
		return nil, err
	}
	defer closeAfter("root", root.Close)

	allowed, err := policy.Parse(spec.Egress)
	if err != nil {
		return nil, err
	}
	program, err := vmexec.NewProgram(vmexec.ProgramSpec{
		Root: root, Path: spec.Path, Args: spec.Args, Env: spec.Env, Dir: spec.Dir, User: spec.User, Outward: len(spec.Egress) > 0, HostLoopback: allowed.Loopback(),
	})
	if err != nil {
		return nil, err
	}
	defer closeAfter("program", program.Close)

	vm, err := host.NewVM(program, spec.Limits)
	if err != nil {
		return nil, err
	}
	defer closeAfter("virtual machine", vm.Close)
	if len(spec.Egress) > 0 {
		broker := egress.New(allowed, egress.Options{Logger: slog.New(slog.NewTextHandler(io.Stderr, nil))})
		defer broker.Close() // after what the program has written is sent
		var end func()
		io.Outward, end = broker.Begin(ctx)
		defer end()
	}
	return vm.Run(ctx, io)
}
