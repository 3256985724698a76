// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package cli holds the commands of kontain. Each command is a file; this one
// holds what they share: streams, exit statuses and the two forms of output,
// text for people and JSON for scripts.
package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit statuses of kontain itself. 125 to 127 are those that shells and
// container tools use, so that `kontain run` can be told from its program.
const (
	ExitOK      = 0
	ExitFailure = 1   // the command did not do what was asked
	ExitUsage   = 2   // wrong flags or arguments
	ExitMonitor = 125 // run: the virtual machine could not be started or failed
	ExitNotExec = 126 // run: the program was found but cannot be run
	ExitNoProg  = 127 // run: the program was not found
)

// Streams are the standard streams of a command.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// exitError ends the program with a status. A nil err prints nothing: what had
// to be said was said.
type exitError struct {
	status int
	err    error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// usageErrorf is a mistake in the flags or arguments of a command.
func usageErrorf(format string, args ...any) error {
	return &exitError{ExitUsage, fmt.Errorf(format, args...)}
}

// Main runs kontain with the arguments that follow the program's name and
// returns its exit status.
func Main(args []string, s Streams) int {
	root := newRoot(s)
	root.SetArgs(args)
	return report(s.Err, root.ExecuteContext(context.Background()))
}

// report prints the error of a command and returns the exit status.
func report(w io.Writer, err error) int {
	if err == nil {
		return ExitOK
	}
	exit := &exitError{status: ExitFailure, err: err}
	if e, ok := errors.AsType[*exitError](err); ok {
		exit = e
	}
	if exit.err != nil {
		fmt.Fprintf(w, "kontain: %v\n", exit.err)
	}
	return exit.status
}

func newRoot(s Streams) *cobra.Command {
	root := &cobra.Command{
		Use:   "kontain",
		Short: "Run a program, or a function for each event, in a virtual machine of its own",
		Long: `kontain runs ordinary Linux programs in virtual machines that have no guest
kernel: a program's system calls leave its machine and are served by kontain.

  kontain run      runs a program as a shell would
  kontain serve    takes CloudEvents over HTTP and gives each to a program in a
                   new virtual machine; what the program answers is the reply
  kontain invoke   sends one CloudEvent and shows the reply
  kontain snapshot makes and shows snapshots of programs that were started
  kontain image    keeps container images, and makes them of programs of this machine
  kontain build    makes a container image of a function's source
  kontain doctor   says what this machine offers
  kontain syscalls lists the system calls that programs can make`,
		Args:          noArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SuggestionsMinimumDistance = 2
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageErrorf("%w (see %s --help)", err, cmd.CommandPath())
	})
	root.AddCommand(newRun(s, runInVM), newServe(s, realMachines), newSource(s, realMachines), newSnapshot(s), newInvoke(s), newImage(s), newBuild(s), newDoctor(s), newSyscalls(s), newVersion(s))
	return root
}

// noArgs refuses arguments. For a command that has others below it an argument
// is a misspelled command.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		hint := ""
		if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
			hint = "; did you mean " + strings.Join(names, " or ") + "?"
		}
		return usageErrorf("unknown command %q%s (see kontain help)", args[0], hint)
	}
	return usageErrorf("%s takes no arguments, got %q (see %s --help)", cmd.CommandPath(), args[0], cmd.CommandPath())
}

// oneArg asks for exactly one argument, called name.
func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return usageErrorf("%s needs one %s, got %d arguments (see %s --help)", cmd.CommandPath(), name, len(args), cmd.CommandPath())
	}
}

// outputFlag is the value of --output.
type outputFlag string

const (
	outputText outputFlag = "text"
	outputJSON outputFlag = "json"
)

func (o *outputFlag) String() string { return string(*o) }

// Type names the flag's value in the help text.
func (o *outputFlag) Type() string { return "text|json" }

// Set takes the flag's value.
func (o *outputFlag) Set(s string) error {
	switch v := outputFlag(s); v {
	case outputText, outputJSON:
		*o = v
		return nil
	}
	return fmt.Errorf("must be text or json, not %q", s)
}

func addOutputFlag(cmd *cobra.Command, o *outputFlag) {
	*o = outputText
	cmd.Flags().VarP(o, "output", "o", "`form` of the output: text for people, json for scripts")
}

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
