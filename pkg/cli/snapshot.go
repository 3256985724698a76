// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/resource"

	"kontain.dev/eventing/pkg/dispatcher"
	"kontain.dev/eventing/pkg/image"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/snapshots"
	"kontain.dev/eventing/vmexec"
)

func newSnapshot(s Streams) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Make, look at and use snapshots on disk",
		Long: `A snapshot is a program frozen where it waits for its event, with its memory.
It starts in a millisecond where the program took long. kontain serve makes
snapshots by itself and finds them again after a restart; these commands make
them ahead, show them and clean up.

A snapshot holds everything that the program had in memory. Its file is for your
eyes alone, for this machine's kind of processor, for this very build of kontain,
and for the program and files as they are now: it is refused when one of these
has changed.`,
		Example: "  kontain snapshot create -f sink.yaml\n  kontain snapshot ls",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newSnapshotCreate(s), newSnapshotInspect(s), newSnapshotRun(s), newSnapshotList(s), newSnapshotRemove(s), newSnapshotGC(s))
	return cmd
}

type createFlags struct {
	files    []string
	sink     string
	output   string
	platform string
	root     string
	memory   string
	env      []string
	store    storeFlags
	images   imageFlags
}

func newSnapshotCreate(s Streams) *cobra.Command {
	var f createFlags
	cmd := &cobra.Command{
		Use:   "create {-f FILE-OR-FOLDER | -- PROGRAM [ARG]...} [-o FILE]",
		Short: "Start a program, freeze it where it waits for its event, and write that to disk",
		Long: `Start a program and freeze it where it reads its event from stdin.

With -f the programs are those of the KontainSinks of a manifest, and the
snapshots go where kontain serve looks for them, so that its first start is as
quick as later ones. Events of snapshot.warmup are run in machines that are
thrown away. Otherwise the snapshot is of PROGRAM, as kontain run takes it.

With -o the snapshot goes to FILE, for kontain snapshot run.`,
		Example: `  kontain snapshot create -f sink.yaml
  kontain snapshot create -o wordcount.snapshot -- ./wordcount
  kontain snapshot create --root / -o py.snapshot -- /usr/bin/python3 /srv/handler.py`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return f.create(cmd.Context(), s, args) },
	}
	cmd.Flags().SetInterspersed(false) // what follows PROGRAM belongs to it
	cmd.Flags().StringArrayVarP(&f.files, "filename", "f", nil, "`file` or folder with manifests; may be repeated")
	cmd.Flags().StringVar(&f.sink, "sink", "", "the one sink of the manifests, `NAMESPACE/NAME`, to make a snapshot of")
	cmd.Flags().StringVarP(&f.output, "output", "o", "", "`file` to write (default: where kontain serve looks)")
	cmd.Flags().StringVar(&f.platform, "platform", string(vmexec.Auto), platformUsage)
	cmd.Flags().StringVar(&f.root, "root", "", "host `folder` shown read-only as the program's file system (default: the program alone)")
	cmd.Flags().StringVar(&f.memory, "memory", "128Mi", "`limit` of the program's memory, such as 64Mi or 1Gi")
	cmd.Flags().StringArrayVarP(&f.env, "env", "e", nil, "`NAME=VALUE` for the program's environment; NAME alone passes yours on; may be repeated")
	f.store.add(cmd)
	f.images.add(cmd)
	return cmd
}

// jobs returns what snapshots are to be made of, by name. Their images stay until
// release is called.
func (f *createFlags) jobs(ctx context.Context, s Streams, args []string) (names []string, specs []lease.Spec, release func() error, err error) {
	const command = "snapshot create"
	release = func() error { return nil }
	if err := checkPlatform(command, f.platform); err != nil {
		return nil, nil, nil, err
	}
	switch {
	case len(f.files) == 0 && len(args) == 0:
		return nil, nil, nil, usageErrorf("%s: nothing to make a snapshot of: -f FILE, or -- PROGRAM [ARG]", command)
	case len(f.files) > 0 && len(args) > 0:
		return nil, nil, nil, usageErrorf("%s: give either -f FILE or a PROGRAM", command)
	case len(f.files) == 0:
		spec, err := f.program(args)
		return []string{args[0]}, []lease.Spec{spec}, release, err
	}
	images := &lazyImages{flags: &f.images, streams: s}
	defer images.close()
	sinks, giveBack, err := server.Sinks(ctx, f.files, images, func(sink dispatcher.Sink) bool {
		return f.sink == sink.Key() || f.sink == "" && sink.Snapshot && (sink.Disk || f.output != "")
	})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%s: %w", command, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, giveBack())
		}
	}()
	for _, sink := range sinks {
		spec, err := server.Machines(sink)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("%s: sink %s: %w", command, sink.Key(), err)
		}
		switch {
		case spec.Snapshot && (spec.Disk || f.output != ""):
			names, specs = append(names, sink.Key()), append(specs, spec)
		case f.sink != "":
			return nil, nil, nil, usageErrorf("%s: the manifest of %s does not allow a snapshot on disk; it says snapshot: {mode: Never} or {storage: Memory}", command, f.sink)
		}
	}
	switch {
	case len(names) == 0 && f.sink != "":
		return nil, nil, nil, usageErrorf("%s: the manifests have no sink %s", command, f.sink)
	case len(names) == 0:
		return nil, nil, nil, usageErrorf("%s: no sink of the manifests has its snapshot on disk", command)
	case len(names) > 1 && f.output != "":
		return nil, nil, nil, usageErrorf("%s: -o is for one snapshot, the manifests have %d sinks; pick one with --sink: %s", command, len(names), strings.Join(names, ", "))
	}
	return names, specs, giveBack, nil
}

// lazyImages opens the cache of images when the first one is asked for.
type lazyImages struct {
	flags   *imageFlags
	streams Streams
	store   *image.Store
	done    func()
}

// Get implements server.Images.
func (l *lazyImages) Get(ctx context.Context, r image.Request) (*image.Image, error) {
	if l.store == nil {
		var err error
		if l.store, l.done, err = l.flags.open(l.streams); err != nil {
			return nil, err
		}
	}
	return l.store.Get(ctx, r)
}

func (l *lazyImages) close() {
	if l.done != nil {
		l.done()
	}
}

// program returns the spec of a program that is named on the command line.
func (f *createFlags) program(args []string) (lease.Spec, error) {
	const command = "snapshot create"
	memory, err := resource.ParseQuantity(f.memory)
	if err != nil || memory.Value() < vmexec.MinMemory || memory.Value() > vmexec.MaxMemory {
		return lease.Spec{}, usageErrorf("%s: --memory %q: must be between %dMi and %dGi", command, f.memory, vmexec.MinMemory>>20, int64(vmexec.MaxMemory)>>30)
	}
	spec := lease.Spec{Args: args[1:], Limits: vmexec.Limits{Memory: uint64(memory.Value())}, Snapshot: true, Disk: true}
	if spec.Env, err = guestEnv(f.env); err != nil {
		return spec, err
	}
	if f.root != "" {
		if spec.Root, err = filepath.Abs(f.root); err != nil {
			return spec, err
		}
		if !path.IsAbs(args[0]) {
			return spec, usageErrorf("%s: %s: with --root the program is named by its absolute path in it", command, args[0])
		}
		spec.Program = filepath.Join(spec.Root, args[0])
		return spec, nil
	}
	found, err := exec.LookPath(args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return spec, &exitError{ExitFailure, fmt.Errorf("%s: %w", command, err)}
	}
	spec.Program, err = filepath.Abs(found)
	return spec, err
}

func (f *createFlags) create(ctx context.Context, s Streams, args []string) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	names, specs, release, err := f.jobs(ctx, s, args)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	var store *snapshots.Store
	if f.output == "" {
		if store, err = f.store.open("snapshot create"); err != nil {
			return err
		}
	}
	host, closeHost, err := openHost(s, f.platform)
	if err != nil {
		return fmt.Errorf("snapshot create: %w", err)
	}
	defer func() { err = errors.Join(err, closeHost()) }()
	for i, name := range names {
		file, err := createSnapshot(ctx, s, host, name, specs[i], store, f.output)
		if err != nil {
			return fmt.Errorf("snapshot create: %s: %w", name, err)
		}
		fmt.Fprintln(s.Out, file)
	}
	return nil
}

// openHost opens a platform and says on stderr which when it is not the best.
func openHost(s Streams, platform string) (*vmexec.Host, func() error, error) {
	host, note, err := openPlatform(vmexec.Kind(platform))
	if err != nil {
		return nil, nil, fmt.Errorf("%w; `kontain doctor` says what this machine offers", err)
	}
	if host.Kind() != vmexec.KVM {
		fmt.Fprintln(s.Err, "kontain: "+note)
	}
	return host, host.Close, nil
}

// createSnapshot makes one snapshot, tells on stderr what takes time, and returns
// the file.
func createSnapshot(ctx context.Context, s Streams, host *vmexec.Host, name string, spec lease.Spec, store *snapshots.Store, file string) (_ string, err error) {
	root, program, err := lease.OpenProgram(spec)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, program.Close(), root.Close()) }()
	fmt.Fprintf(s.Err, "%s: starting it until it waits for its event\n", name)
	broker, err := lease.NewBroker(spec, nil, slog.New(slog.NewTextHandler(s.Err, nil)))
	if err != nil {
		return "", err
	}
	var outward lease.Outward
	if broker != nil {
		outward = broker.Begin
		defer broker.Close()
	}
	snapshot, err := lease.Start(ctx, host, program, spec.Limits, spec.Ready, outward)
	if err != nil {
		var none *vmexec.NoWaitError
		if errors.As(err, &none) && len(none.Result.Stderr) > 0 {
			_, _ = s.Err.Write(none.Result.Stderr)
		}
		return "", err
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	fmt.Fprintf(s.Err, "%s: waits after %s; writing %s of memory at most\n", name, snapshot.Took.Round(10*time.Microsecond), bytesText(snapshot.Size()))
	for i, event := range spec.Warmup {
		if err := lease.WarmUp(ctx, host, snapshot, spec.Limits, event, outward); err != nil {
			fmt.Fprintf(s.Err, "%s: warning: event %d of snapshot.warmup: %v\n", name, i+1, err)
		}
	}
	if store == nil {
		if file, err = filepath.Abs(file); err != nil {
			return "", err
		}
		return file, snapshot.Save(file, spec.Tag)
	}
	key, err := host.SnapshotKey(program, spec.Limits, spec.Tag)
	if err != nil {
		return "", err
	}
	return store.Path(key), store.Save(snapshot, key, spec.Tag)
}

// bytesText is a size for people.
func bytesText(n uint64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GiB", n>>30)
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%d KiB", (n+1023)>>10)
}

// snapshotFile returns the file that an argument names: a path, or the beginning of
// the key of a snapshot in the store.
func (f *storeFlags) snapshotFile(command, arg string) (string, error) {
	if _, err := os.Lstat(arg); err == nil || strings.ContainsRune(arg, filepath.Separator) {
		return arg, nil
	}
	store, err := f.open(command)
	if err != nil {
		return "", err
	}
	list, err := store.List()
	if err != nil {
		return "", err
	}
	found := ""
	for _, e := range list {
		if e.Key != "" && strings.HasPrefix(e.Key, arg) {
			if found != "" {
				return "", usageErrorf("%s: several snapshots begin with %s; give more of the key", command, arg)
			}
			found = e.Path
		}
	}
	if found == "" {
		return "", fmt.Errorf("%s: there is no file %s, and no snapshot of that key in %s", command, arg, store.Dir())
	}
	return found, nil
}

func newSnapshotInspect(s Streams) *cobra.Command {
	var store storeFlags
	var output outputFlag
	var quick bool
	cmd := &cobra.Command{
		Use:   "inspect FILE-OR-KEY",
		Short: "Show what a snapshot is of and what it needs, and check that it is whole",
		Example: `  kontain snapshot inspect wordcount.snapshot
  kontain snapshot inspect 3fa9 --output json`,
		Args: oneArg("FILE-OR-KEY"),
		RunE: func(_ *cobra.Command, args []string) error {
			file, err := store.snapshotFile("snapshot inspect", args[0])
			if err != nil {
				return err
			}
			info, err := vmexec.ReadSnapshotInfo(file, !quick)
			if err != nil {
				return fmt.Errorf("snapshot inspect: %w", err)
			}
			if output == outputJSON {
				return printJSON(s.Out, info)
			}
			return printSnapshot(s.Out, file, info)
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "read the header alone and not the whole file")
	store.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

func printSnapshot(w io.Writer, file string, i *vmexec.SnapshotInfo) error {
	build, err := vmexec.BuildIdentity()
	if err != nil {
		return err
	}
	ours := "this one"
	if build != i.Monitor.Build {
		ours = "another: it cannot be used with this one"
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("file", "%s", file)
	row("key", "%s", i.Key)
	row("created", "%s", i.Created.Local().Format(time.RFC3339))
	row("program", "%s", i.Program.Path)
	row("arguments", "%q", i.Program.Args)
	row("environment", "%d variables", len(i.Program.Env))
	row("folder", "%s", i.Program.Dir)
	row("sha256", "%s", i.Program.SHA256)
	if i.Program.Interpreter != "" {
		row("dynamic linker", "%s", i.Program.Interpreter)
	}
	if i.Root.Kind == "program" {
		row("root", "the program alone")
	} else {
		row("root", "%s", i.Root.Path)
	}
	row("started in", "%s", i.Start.Round(10*time.Microsecond))
	row("threads", "%d", i.Threads)
	row("memory", "%s of data, %s in use, at most %s", bytesText(i.Data), bytesText(i.Used), bytesText(i.Limits.Memory))
	row("state", "%s", bytesText(i.State.Bytes))
	row("platform", "%s", i.Platform)
	row("kontain", "%s (%s)", i.Monitor.Build, ours)
	return t.Flush()
}

type snapshotRunFlags struct {
	platform string
	event    string
	timeout  time.Duration
	stats    bool
	store    storeFlags
}

func newSnapshotRun(s Streams) *cobra.Command {
	var f snapshotRunFlags
	cmd := &cobra.Command{
		Use:   "run FILE-OR-KEY",
		Short: "Give an event to a clone of a snapshot",
		Long: `Make a virtual machine from a snapshot, give it an event on stdin, and pass on
what the program writes. The event is a file, or what stdin has.

Exit status: that of the program, as with kontain run; 125 when the snapshot
cannot be used.`,
		Example: `  echo one two three | kontain snapshot run wordcount.snapshot
  kontain snapshot run wordcount.snapshot --event event.json --stats`,
		Args: oneArg("FILE-OR-KEY"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkPlatform("snapshot run", f.platform); err != nil {
				return err
			}
			if f.timeout < 0 {
				return usageErrorf("snapshot run: --timeout %s: must not be negative", f.timeout)
			}
			file, err := f.store.snapshotFile("snapshot run", args[0])
			if err != nil {
				return &exitError{ExitMonitor, err}
			}
			return f.run(cmd.Context(), s, file)
		},
	}
	cmd.Flags().StringVar(&f.event, "event", "", "`file` with the event (default: stdin)")
	cmd.Flags().StringVar(&f.platform, "platform", string(vmexec.Auto), platformUsage)
	cmd.Flags().DurationVar(&f.timeout, "timeout", 0, "wall-clock `limit`, such as 500ms or 10s (default: none)")
	cmd.Flags().BoolVar(&f.stats, "stats", false, "print what the run cost to stderr")
	f.store.add(cmd)
	return cmd
}

// maxEventFile bounds the event of snapshot run: it is held in memory.
const maxEventFile = 1 << 30

// readInput returns the event.
func (f *snapshotRunFlags) readInput(stdin io.Reader) ([]byte, error) {
	in := stdin
	if f.event != "" && f.event != "-" {
		file, err := os.Open(f.event)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	b, err := io.ReadAll(io.LimitReader(in, maxEventFile+1))
	if err == nil && len(b) > maxEventFile {
		err = fmt.Errorf("the event is longer than %d MiB", maxEventFile>>20)
	}
	return b, err
}

func (f *snapshotRunFlags) run(ctx context.Context, s Streams, file string) (err error) {
	fail := func(err error) error { return &exitError{ExitMonitor, fmt.Errorf("snapshot run: %w", err)} }
	info, err := vmexec.ReadSnapshotInfo(file, false)
	if err != nil {
		return fail(err)
	}
	spec, limits, err := vmexec.SnapshotProgramSpec(info)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, spec.Root.Close()) }()
	program, err := vmexec.NewProgram(spec)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	host, closeHost, err := openHost(s, f.platform)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, closeHost()) }()
	limits.Wall = f.timeout
	snapshot, err := host.LoadSnapshot(program, limits, file)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, snapshot.Close()) }()
	event, err := f.readInput(s.In)
	if err != nil {
		return fail(err)
	}
	vm, err := host.Clone(snapshot, limits)
	if err != nil {
		return fail(err)
	}
	defer func() { err = errors.Join(err, vm.Close()) }()
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := vm.Run(ctx, vmexec.IO{Event: event})
	if err != nil {
		return fail(err)
	}
	if _, err := s.Out.Write(r.Stdout); err != nil {
		return fail(err)
	}
	if _, err := s.Err.Write(r.Stderr); err != nil {
		return fail(err)
	}
	status := r.ExitStatus()
	if r.Reason != vmexec.Exited {
		fmt.Fprintf(s.Err, "kontain: %s: %s\n", program.Path(), endOf(r))
	}
	if f.stats {
		if err := printStats(s.Err, outputText, r, status); err != nil {
			return err
		}
	}
	if status != 0 {
		return &exitError{status: status}
	}
	return nil
}

// entryReport is the JSON form of one line of ls.
type entryReport struct {
	Key    string    `json:"key"`
	File   string    `json:"file"`
	Bytes  int64     `json:"bytes"`
	Used   time.Time `json:"used"`
	InUse  bool      `json:"inUse"`
	Error  string    `json:"error,omitempty"`
	Info   any       `json:"info,omitempty"`
	Usable bool      `json:"usable"` // by this build of kontain
}

func newSnapshotList(s Streams) *cobra.Command {
	var store storeFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "ls",
		Short:   "List the snapshots that kontain serve finds",
		Example: "  kontain snapshot ls\n  kontain snapshot ls --output json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			st, err := store.open("snapshot ls")
			if err != nil {
				return err
			}
			list, err := st.List()
			if err != nil {
				return fmt.Errorf("snapshot ls: %w", err)
			}
			build, err := vmexec.BuildIdentity()
			if err != nil {
				return err
			}
			reports := []entryReport{}
			for _, e := range list {
				if e.Key == "" {
					continue
				}
				r := entryReport{Key: e.Key, File: e.Path, Bytes: e.Size, Used: e.Used, InUse: e.Busy}
				if e.Err != nil {
					r.Error = e.Err.Error()
				} else {
					r.Info, r.Usable = e.Info, e.Info.Monitor.Build == build
				}
				reports = append(reports, r)
			}
			if output == outputJSON {
				return printJSON(s.Out, reports)
			}
			return printEntries(s.Out, reports)
		},
	}
	store.add(cmd)
	addOutputFlag(cmd, &output)
	return cmd
}

func printEntries(w io.Writer, list []entryReport) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(t, "KEY\tPROGRAM\tSIZE\tUSED\tNOTE")
	for _, r := range list {
		program, note := "", ""
		if i, ok := r.Info.(*vmexec.SnapshotInfo); ok {
			program = i.Program.Path
		}
		switch {
		case r.Error != "":
			note = "cannot be used: " + r.Error
		case !r.Usable:
			note = "of another build of kontain"
		case r.InUse:
			note = "in use"
		}
		fmt.Fprintf(t, "%.12s\t%s\t%s\t%s ago\t%s\n", r.Key, program, bytesText(uint64(r.Bytes)), time.Since(r.Used).Round(time.Second), note)
	}
	return t.Flush()
}

func newSnapshotRemove(s Streams) *cobra.Command {
	var store storeFlags
	var all bool
	cmd := &cobra.Command{
		Use:     "rm {KEY... | --all}",
		Short:   "Remove snapshots that nobody uses",
		Example: "  kontain snapshot rm 3fa9\n  kontain snapshot rm --all",
		RunE: func(_ *cobra.Command, args []string) error {
			if all == (len(args) > 0) {
				return usageErrorf("snapshot rm: give the keys, or the beginnings of them, or --all")
			}
			st, err := store.open("snapshot rm")
			if err != nil {
				return err
			}
			if all {
				r, err := st.Clear()
				return printGC(s.Out, "snapshot rm", r, err)
			}
			for _, key := range args {
				e, err := st.Remove(key)
				if err != nil {
					return fmt.Errorf("snapshot rm: %w", err)
				}
				fmt.Fprintln(s.Out, e.Key)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all of them")
	store.add(cmd)
	return cmd
}

func newSnapshotGC(s Streams) *cobra.Command {
	var store storeFlags
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove what is damaged, left over, or not used for long",
		Long: `Remove files that writers left behind when they died, snapshots that are damaged,
those of other builds of kontain that were not used for a day, those that were not
used for 30 days, and, beyond --snapshot-cache-size, those that were not used for
the longest time. What is in use stays. kontain serve does the same after it has
written a snapshot.`,
		Example: "  kontain snapshot gc\n  kontain snapshot gc --snapshot-cache-size 1Gi",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			st, err := store.open("snapshot gc")
			if err != nil {
				return err
			}
			r, err := st.GC()
			return printGC(s.Out, "snapshot gc", r, err)
		},
	}
	store.add(cmd)
	return cmd
}

func printGC(w io.Writer, command string, r snapshots.Report, err error) error {
	for _, e := range r.Removed {
		fmt.Fprintln(w, "removed", e.Path)
	}
	fmt.Fprintf(w, "%s freed, %s in %d files kept\n", bytesText(uint64(r.Freed)), bytesText(uint64(r.Kept)), r.Files)
	if err != nil {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}
