// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package journal keeps what a source must not forget when its adapter ends: the
// events that the sink has not taken yet, in the order of their runs, and what was
// reached so far.
//
// A run is added with its events in one file before the first of them is sent, and
// its state becomes the source's only when the sink has taken them all. So whatever
// moment the process is killed at, each run that was added is delivered at least once,
// and the next run begins with the state of one that was delivered.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// Bounds of a journal.
const (
	// DefaultBytes is the most bytes that the events of runs that wait may have.
	DefaultBytes = 64 << 20
	// DefaultRuns is the most runs that may wait.
	DefaultRuns = 1000
	// mostFile is the largest file that is read.
	mostFile = 256 << 20
)

// version is that of the files.
const version = 1

// Reached is what a source has reached: all of it was delivered.
type Reached struct {
	Run       uint64    `json:"run"`                // the number of the last run; 0: there was none
	Scheduled time.Time `json:"scheduled,omitzero"` // when it was due
	Delivered time.Time `json:"delivered,omitzero"` // when the sink had taken all of it
	Begun     time.Time `json:"begun,omitzero"`     // when the source was first seen: the anchor of an interval
	State     []byte    `json:"state,omitempty"`    // what the program left for the next run
	Passed    time.Time `json:"passed,omitzero"`    // all that was due up to here was dealt with, by a run or not
}

// Run is one run of the program and what came of it.
type Run struct {
	Number    uint64            `json:"run"`
	Scheduled time.Time         `json:"scheduled"`
	State     []byte            `json:"state,omitempty"`
	Events    []json.RawMessage `json:"events"` // in the JSON format
}

type reachedFile struct {
	Version int `json:"version"`
	Reached
}

type runFile struct {
	Version int `json:"version"`
	Run
}

// FullError says that a run was not added because too much waits for the sink.
type FullError struct {
	Runs  int   // that wait
	Bytes int64 // of their files
}

func (e *FullError) Error() string {
	return fmt.Sprintf("%d runs with %d KiB of events wait for the sink: no further one is begun until it takes them", e.Runs, e.Bytes>>10)
}

// TooLargeError says that the events of one run are more than a journal takes.
type TooLargeError struct {
	Bytes int64 // of the run, in JSON
	Most  int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the run has %d KiB of events; at most %d KiB are kept here", (e.Bytes+1023)>>10, e.Most>>10)
}

// Journal is one source's. Its methods may be called from several goroutines.
type Journal struct {
	dir   string
	bytes int64 // that may wait
	runs  int
	lock  *os.File

	mu      sync.Mutex
	reached Reached
	waiting []entry
	size    int64  // of waiting
	next    uint64 // the number of the next run
	dealt   time.Time
}

type entry struct {
	number uint64
	size   int64
}

// Open opens the journal in a folder, which is made if it is not there. Only one
// process at a time may have it: another one gets an error. Zero bounds are the
// defaults.
func Open(dir string, bytes int64, runs int) (*Journal, error) {
	if bytes <= 0 {
		bytes = DefaultBytes
	}
	if runs <= 0 {
		runs = DefaultRuns
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("journal %s: another process has it; a source may run once at a time", dir)
		}
		return nil, fmt.Errorf("journal %s: lock: %w", dir, err)
	}
	j := &Journal{dir: dir, bytes: bytes, runs: runs, lock: lock}
	if err := j.load(); err != nil {
		_ = lock.Close()
		return nil, err
	}
	return j, nil
}

func (j *Journal) load() error {
	var r reachedFile
	switch err := read(j.reachedPath(), &r, func() int { return r.Version }); {
	case errors.Is(err, fs.ErrNotExist):
		r.Begun = time.Now()
		if err := j.write(j.reachedPath(), reachedFile{version, r.Reached}); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	j.reached, j.next = r.Reached, r.Run+1
	files, err := os.ReadDir(j.dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	for _, f := range files {
		number, ok := runNumber(f.Name())
		if !ok {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		if number <= r.Run { // it was delivered; only its file was left
			if err := os.Remove(filepath.Join(j.dir, f.Name())); err != nil {
				return fmt.Errorf("journal: %w", err)
			}
			continue
		}
		j.waiting = append(j.waiting, entry{number, info.Size()})
		j.size += info.Size()
		j.next = max(j.next, number+1)
	}
	slices.SortFunc(j.waiting, func(a, b entry) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	j.dealt = j.reached.Passed
	if n := len(j.waiting); n > 0 {
		last, err := j.run(j.waiting[n-1].number)
		if err != nil {
			return err
		}
		j.dealWith(last.Scheduled)
	}
	return nil
}

func (j *Journal) dealWith(t time.Time) {
	if t.After(j.dealt) {
		j.dealt = t
	}
}

// Dealt returns up to when all that was due was dealt with, by a run or not.
func (j *Journal) Dealt() time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.dealt
}

// Close gives the journal free for another process.
func (j *Journal) Close() error { return j.lock.Close() }

func (j *Journal) reachedPath() string { return filepath.Join(j.dir, "reached.json") }

func (j *Journal) runPath(number uint64) string {
	return filepath.Join(j.dir, fmt.Sprintf("run-%020d.json", number))
}

func runNumber(name string) (uint64, bool) {
	digits, ok := strings.CutPrefix(name, "run-")
	if digits, ok2 := strings.CutSuffix(digits, ".json"); ok && ok2 {
		n, err := strconv.ParseUint(digits, 10, 64)
		return n, err == nil && n > 0
	}
	return 0, false
}

// write replaces a file by one that is whole on the disk.
func (j *Journal) write(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if err := renameio.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return j.sync()
}

// sync makes the names in the folder last.
func (j *Journal) sync() error {
	d, err := os.Open(j.dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}

func read(path string, v any, versionOf func() int) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Size() > mostFile {
		return fmt.Errorf("journal: %s has %d bytes and is none of ours; remove it, and what it holds is lost", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("journal: %s is damaged (%w); remove it, and what it holds is lost", path, err)
	}
	if n := versionOf(); n != version {
		return fmt.Errorf("journal: %s has the format %d; this release reads %d", path, n, version)
	}
	return nil
}

// Reached returns what was reached. Its State must not be changed.
func (j *Journal) Reached() Reached {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.reached
}

// Waiting returns how many runs wait for the sink, and the bytes of their files.
func (j *Journal) Waiting() (runs int, bytes int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.waiting), j.size
}

// Room says whether another run may be begun: nil, or a *FullError.
func (j *Journal) Room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) >= j.runs || j.size >= j.bytes {
		return &FullError{len(j.waiting), j.size}
	}
	return nil
}

// Add adds a run that was due at scheduled and returns its number. When it returns,
// the run is not lost any more.
func (j *Journal) Add(scheduled time.Time, events []json.RawMessage, state []byte) (uint64, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	number := j.next
	f := runFile{version, Run{number, scheduled, state, events}}
	path := j.runPath(number)
	if err := j.write(path, f); err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("journal: %w", err)
	}
	j.next++
	j.dealWith(scheduled)
	j.waiting = append(j.waiting, entry{number, info.Size()})
	j.size += info.Size()
	return number, nil
}

// Oldest returns the first run that waits; nil when none does.
func (j *Journal) Oldest() (*Run, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 {
		return nil, nil
	}
	return j.run(j.waiting[0].number)
}

func (j *Journal) run(number uint64) (*Run, error) {
	var f runFile
	if err := read(j.runPath(number), &f, func() int { return f.Version }); err != nil {
		return nil, err
	}
	if f.Number != number {
		return nil, fmt.Errorf("journal: %s holds run %d", j.runPath(number), f.Number)
	}
	return &f.Run, nil
}

// Delivered notes that the oldest run was taken by the sink: its state is now the
// source's.
func (j *Journal) Delivered(r *Run) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.waiting) == 0 || j.waiting[0].number != r.Number {
		return fmt.Errorf("journal: run %d is not the oldest one", r.Number)
	}
	next := j.reached
	next.Run, next.Scheduled, next.State, next.Delivered = r.Number, r.Scheduled, r.State, time.Now()
	if next.Passed.Before(r.Scheduled) {
		next.Passed = r.Scheduled
	}
	if err := j.write(j.reachedPath(), reachedFile{version, next}); err != nil {
		return err
	}
	j.reached = next
	j.size -= j.waiting[0].size
	j.waiting = j.waiting[1:]
	if err := os.Remove(j.runPath(r.Number)); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// Passed notes that all which was due up to t was dealt with though no run came of the
// last of it: it was too late, suspended, or had no place.
func (j *Journal) Passed(t time.Time) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if !t.After(j.dealt) {
		return nil
	}
	next := j.reached
	next.Passed = t
	if err := j.write(j.reachedPath(), reachedFile{version, next}); err != nil {
		return err
	}
	j.reached = next
	j.dealWith(t)
	return nil
}
