// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package manifest reads KontainSinks from files, so that the same manifests
// serve with and without Kubernetes. Reading is strict: what is unknown, given
// twice, of the wrong type, not valid or not available in this release is an
// error that names file, line, column and field. All errors of all files are
// reported together.
package manifest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1/capability"
)

// Bounds of what Load reads.
const (
	// MaxFileBytes is the size of one file.
	MaxFileBytes = 32 << 20
	// MaxFiles is the number of manifests in a folder.
	MaxFiles = 20000
	// MaxSinks is the number of sinks in all files together.
	MaxSinks = 20000

	// maxErrors is how many errors are worth reading at once.
	maxErrors = 100

	defaultNamespace = "default"
)

// Sink is a KontainSink, with its defaults, and where it was read.
type Sink struct {
	*v1alpha1.KontainSink

	// File is the path of the file, as Load or Parse was given it.
	File string
	// Line is where the sink starts in the file, from 1.
	Line int
	// Dir is the absolute path of the file's folder: relative paths in the sink
	// start there.
	Dir string
}

// ProgramPath returns the path of the sink's executable, which is absolute.
func (s Sink) ProgramPath() string { return s.resolve(s.Spec.Program) }

// RootPath returns the path of the guest's root folder, which is absolute, or
// nothing when the guest sees the program alone.
func (s Sink) RootPath() string { return s.resolve(s.Spec.Root) }

// ImageReference returns the reference of the sink's image. One that names a
// path has it absolute.
func (s Sink) ImageReference() string {
	for _, prefix := range v1alpha1.ImagePathPrefixes {
		if path, ok := strings.CutPrefix(s.Spec.Image, prefix); ok {
			return prefix + s.resolve(path)
		}
	}
	return s.Spec.Image
}

func (s Sink) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir, path)
}

// Load reads the sinks of a file, or of the files named *.yaml, *.yml and *.json
// of a folder, in the order of their names. Hidden files and the folders below
// are not read; symbolic links are followed, as mounted ConfigMaps need it.
//
// It returns either all sinks or an error: Errors for what is wrong with the
// manifests, an error that matches ErrNoSinks when there is none, or the error
// of the file system.
func Load(path string) ([]Sink, error) {
	files, err := list(path)
	if err != nil {
		return nil, err
	}
	r := newReader()
	for _, file := range files {
		data, err := readFile(file)
		switch {
		case errors.Is(err, errTooLarge):
			r.errs = append(r.errs, Error{File: file, Message: fmt.Sprintf("larger than %d bytes", MaxFileBytes)})
		case err != nil:
			return nil, fmt.Errorf("read manifest: %w", err)
		default:
			r.read(file, data)
		}
		if r.full {
			break
		}
	}
	return r.result(path)
}

// Parse reads the sinks of data, the content of a file. Its errors are those of
// Load.
func Parse(file string, data []byte) ([]Sink, error) {
	r := newReader()
	if len(data) > MaxFileBytes {
		return nil, Errors{{File: file, Message: fmt.Sprintf("larger than %d bytes", MaxFileBytes)}}
	}
	r.read(file, data)
	return r.result(file)
}

// list returns path when it is a file, or the manifests in it.
func list(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read manifests: %w", err)
	}
	var files []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(e.Name())) {
			continue
		}
		file := filepath.Join(path, e.Name())
		info, err := os.Stat(file)
		if err != nil {
			return nil, fmt.Errorf("read manifests: %w", err)
		}
		if !info.IsDir() {
			files = append(files, file)
		}
	}
	if len(files) > MaxFiles {
		return nil, Errors{{File: path, Message: fmt.Sprintf("holds %d manifests, more than %d", len(files), MaxFiles)}}
	}
	return files, nil
}

var errTooLarge = errors.New("too large")

func readFile(path string) ([]byte, error) {
	// Without O_NONBLOCK a named pipe would hold the reader for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxFileBytes {
		return nil, errTooLarge
	}
	return data, nil
}

// reader collects the sinks and errors of several files.
type reader struct {
	sinks  []Sink
	errs   Errors
	places map[string]string // NAMESPACE/NAME to FILE:LINE
	full   bool              // MaxSinks was passed
	more   int               // errors beyond maxErrors
}

func newReader() *reader {
	return &reader{places: make(map[string]string)}
}

func (r *reader) result(path string) ([]Sink, error) {
	if len(r.errs) > 0 {
		r.errs.sort()
		if r.more > 0 {
			r.errs = append(r.errs, Error{File: path, Message: fmt.Sprintf("%d more errors are not shown", r.more)})
		}
		return nil, r.errs
	}
	if len(r.sinks) == 0 {
		return nil, fmt.Errorf("%s: %w", path, ErrNoSinks)
	}
	return r.sinks, nil
}

func (r *reader) read(file string, data []byte) {
	bad := func(line, column int, path, message string) {
		if len(r.errs) >= maxErrors {
			r.more++
			return
		}
		r.errs = append(r.errs, Error{file, line, column, path, message})
	}
	parse(data, bad, func(root *node, flawed bool) {
		r.object(file, root, "", flawed, bad)
	})
}

// object reads one object: a sink, or a list of objects. In a flawed one parts
// are missing.
func (r *reader) object(file string, n *node, path string, flawed bool, bad report) {
	if r.full {
		return
	}
	if n.kind != mapping {
		bad(n.line, n.column, path, "expected a mapping with apiVersion and kind, found "+n.describe())
		return
	}
	apiVersion, ok1 := header(n, path, "apiVersion", v1alpha1.SchemeGroupVersion.String(), bad)
	kind, ok2 := header(n, path, "kind", "KontainSink", bad)
	if !ok1 || !ok2 {
		return
	}
	own := apiVersion == v1alpha1.SchemeGroupVersion.String()
	switch {
	case own && kind == "KontainSink":
		r.sink(file, n, path, flawed, bad)
	case own && kind == "KontainSinkList", apiVersion == "v1" && kind == "List":
		r.list(file, n, path, flawed, bad)
	default:
		line, column, _ := n.place("kind")
		bad(line, column, join(path, "kind"), fmt.Sprintf("%s of apiVersion %s is not read here, only KontainSink of apiVersion %s",
			quote(kind), quote(apiVersion), v1alpha1.SchemeGroupVersion))
	}
}

// header returns a field that every object has.
func header(n *node, path, key, example string, bad report) (string, bool) {
	line, column, written := n.place(key)
	if !written {
		bad(line, column, join(path, key), fmt.Sprintf("missing field; write %s: %s", key, example))
		return "", false
	}
	if value := n.field(key).value; value.kind == str {
		return value.text, true
	}
	bad(line, column, join(path, key), "expected a string, found "+n.field(key).value.describe())
	return "", false
}

func (r *reader) list(file string, n *node, path string, flawed bool, bad report) {
	for _, f := range n.fields {
		switch f.key {
		case "apiVersion", "kind", "metadata":
		case "items":
			if f.value.kind != sequence {
				bad(f.value.line, f.value.column, join(path, f.key), "expected a list, found "+f.value.describe())
				continue
			}
			for i, item := range f.value.items {
				r.object(file, item, index(join(path, f.key), i), flawed, bad)
			}
		default:
			bad(f.line, f.column, join(path, f.key), "unknown field")
		}
	}
}

func (r *reader) sink(file string, n *node, path string, flawed bool, report report) {
	reported := make(map[string]bool)
	bad := func(line, column int, path, message string) {
		reported[path] = true
		report(line, column, path, message)
	}

	sink := &v1alpha1.KontainSink{}
	decode(readable(n, path, bad), reflect.ValueOf(sink).Elem(), path, bad)
	flawed = flawed || len(reported) > 0

	ctx := v1alpha1.AllowProgram(context.Background())
	if sink.Namespace == "" {
		sink.Namespace = defaultNamespace
	}
	sink.SetDefaults(ctx)

	wrong := sink.Validate(ctx).Also(capability.Check(&sink.Spec).ViaField("spec"))
	for _, e := range wrong.WrappedErrors() {
		message := e.Message
		if e.Details != "" {
			message += " — " + e.Details
		}
		for _, field := range e.Paths {
			// FieldError splits paths at dots, those in a key as well.
			field = strings.ReplaceAll(field, ".[", "[")
			line, column, written := n.place(field)
			// What could not be read was not stored, and its absence is no
			// second error.
			if full := join(path, field); !flawed || (written && !reported[full]) {
				report(line, column, full, message)
			}
		}
	}

	name := sink.Namespace + "/" + sink.Name
	line, column, _ := n.place("metadata.name")
	place := fmt.Sprintf("%s:%d", file, line)
	if first, twice := r.places[name]; twice && sink.Name != "" {
		report(line, column, join(path, "metadata.name"), fmt.Sprintf("the sink %s is already defined at %s", name, first))
		return
	}
	r.places[name] = place
	if len(r.sinks) >= MaxSinks {
		r.full = true
		report(n.line, n.column, path, fmt.Sprintf("more than %d sinks", MaxSinks))
		return
	}
	r.sinks = append(r.sinks, Sink{KontainSink: sink, File: file, Line: n.line, Dir: folder(file)})
}

// readable returns n without what only the API server and the controller write,
// which it reports. A null there is what kubectl's --dry-run leaves behind.
func readable(n *node, path string, bad report) *node {
	kept := *n
	kept.fields = nil
	for _, f := range n.fields {
		switch {
		case f.key == "status":
			if f.value.kind != null && len(f.value.fields) > 0 {
				bad(f.line, f.column, join(path, f.key), "only the controller writes the status; remove it")
			}
			continue
		case f.key == "metadata" && f.value.kind == mapping:
			meta := *f.value
			meta.fields = nil
			for _, m := range f.value.fields {
				if refused(m.key) {
					if m.value.kind != null {
						bad(m.line, m.column, join(join(path, f.key), m.key),
							"has no meaning in a file; write name, namespace, labels and annotations only")
					}
					continue
				}
				meta.fields = append(meta.fields, m)
			}
			f.value = &meta
		}
		kept.fields = append(kept.fields, f)
	}
	return &kept
}

// refused says whether a field of metadata exists in Kubernetes alone. What
// exists nowhere is decode's to report.
func refused(key string) bool {
	switch key {
	case "name", "namespace", "labels", "annotations":
		return false
	}
	return slices.ContainsFunc(fieldsOf(reflect.TypeFor[metav1.ObjectMeta]()), func(f structField) bool { return f.name == key })
}

func folder(file string) string {
	dir := filepath.Dir(file)
	if abs, err := filepath.Abs(dir); err == nil {
		return abs
	}
	return dir
}
