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
	"k8s.io/apimachinery/pkg/runtime/schema"
	"knative.dev/pkg/apis"

	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1"
	"kontain.dev/eventing/pkg/apis/sinks/v1alpha1/capability"
	sourcesv1alpha1 "kontain.dev/eventing/pkg/apis/sources/v1alpha1"
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

// Place is where an object was read.
type Place struct {
	// File is the path of the file, as Load or Parse was given it.
	File string
	// Line is where the object starts in the file, from 1.
	Line int
	// Dir is the absolute path of the file's folder: relative paths in the object
	// start there.
	Dir string
}

// Sink is a KontainSink, with its defaults, and where it was read.
type Sink struct {
	*v1alpha1.KontainSink
	Place
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

// Source is a KontainSource, with its defaults, and where it was read.
type Source struct {
	*sourcesv1alpha1.KontainSource
	Place
}

// Function returns the program of the source as that of a sink of the same name: for
// whoever runs programs it is one, and its runs are events.
func (s Source) Function() Sink {
	k := &v1alpha1.KontainSink{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name},
		// Its runs are one after the other.
		Spec: v1alpha1.KontainSinkSpec{FunctionSpec: s.Spec.FunctionSpec, Concurrency: new(int32(1))},
	}
	k.SetDefaults(context.Background())
	return Sink{k, s.Place}
}

func (p Place) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(p.Dir, path)
}

// Load reads the sinks of a file, or of the files named *.yaml, *.yml and *.json
// of a folder, in the order of their names. Hidden files and the folders below
// are not read; symbolic links are followed, as mounted ConfigMaps need it.
//
// It returns either all sinks or an error: Errors for what is wrong with the
// manifests, an error that matches ErrNoSinks when there is none, or the error
// of the file system.
func Load(path string) ([]Sink, error) {
	r := newReader(sinkKind)
	if err := r.load(path); err != nil {
		return nil, err
	}
	return r.sinks, nil
}

// LoadSources reads KontainSources as Load reads sinks. They need not say where their
// events go. An error matches ErrNoSources when there is none.
func LoadSources(path string) ([]Source, error) {
	r := newReader(sourceKind)
	if err := r.load(path); err != nil {
		return nil, err
	}
	return r.sources, nil
}

// load reads the objects of a file or folder.
func (r *reader) load(path string) error {
	files, err := list(path)
	if err != nil {
		return err
	}
	for _, file := range files {
		data, err := readFile(file)
		switch {
		case errors.Is(err, errTooLarge):
			r.errs = append(r.errs, Error{File: file, Message: fmt.Sprintf("larger than %d bytes", MaxFileBytes)})
		case err != nil:
			return fmt.Errorf("read manifest: %w", err)
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
	r := newReader(sinkKind)
	if len(data) > MaxFileBytes {
		return nil, Errors{{File: file, Message: fmt.Sprintf("larger than %d bytes", MaxFileBytes)}}
	}
	r.read(file, data)
	if err := r.result(file); err != nil {
		return nil, err
	}
	return r.sinks, nil
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

// object is what an API object must be to be read.
type object interface {
	metav1.Object
	apis.Defaultable
	apis.Validatable
}

// readKind is what a reader reads.
type readKind struct {
	version schema.GroupVersion
	name    string // such as KontainSink
	word    string // for one of them, such as sink
	none    error  // that there is none
	new     func() object
	// check returns what is wrong with an object, beside what Validate finds.
	check   func(object) *apis.FieldError
	context func(context.Context) context.Context
	keep    func(*reader, object, Place)
}

var sinkKind = &readKind{
	version: v1alpha1.SchemeGroupVersion, name: "KontainSink", word: "sink", none: ErrNoSinks,
	new:     func() object { return &v1alpha1.KontainSink{} },
	check:   func(o object) *apis.FieldError { return capability.Check(&o.(*v1alpha1.KontainSink).Spec) },
	context: v1alpha1.AllowProgram,
	keep:    func(r *reader, o object, p Place) { r.sinks = append(r.sinks, Sink{o.(*v1alpha1.KontainSink), p}) },
}

var sourceKind = &readKind{
	version: sourcesv1alpha1.SchemeGroupVersion, name: "KontainSource", word: "source", none: ErrNoSources,
	new: func() object { return &sourcesv1alpha1.KontainSource{} },
	check: func(o object) *apis.FieldError {
		source := o.(*sourcesv1alpha1.KontainSource)
		errs := capability.Check(&Source{KontainSource: source}.Function().Spec)
		if source.Spec.Sink.Ref != nil {
			errs = errs.Also(apis.ErrGeneric("only a cluster knows what it refers to; write sink: {uri: URL}", "sink.ref"))
		}
		return errs
	},
	context: func(ctx context.Context) context.Context {
		return sourcesv1alpha1.AllowNoSink(v1alpha1.AllowProgram(ctx))
	},
	keep: func(r *reader, o object, p Place) {
		r.sources = append(r.sources, Source{o.(*sourcesv1alpha1.KontainSource), p})
	},
}

// reader collects the objects and errors of several files.
type reader struct {
	kind    *readKind
	sinks   []Sink
	sources []Source
	errs    Errors
	places  map[string]string // NAMESPACE/NAME to FILE:LINE
	full    bool              // MaxSinks was passed
	more    int               // errors beyond maxErrors
}

func newReader(k *readKind) *reader {
	return &reader{kind: k, places: make(map[string]string)}
}

func (r *reader) result(path string) error {
	if len(r.errs) > 0 {
		r.errs.sort()
		if r.more > 0 {
			r.errs = append(r.errs, Error{File: path, Message: fmt.Sprintf("%d more errors are not shown", r.more)})
		}
		return r.errs
	}
	if len(r.places) == 0 {
		return fmt.Errorf("%s: %w", path, r.kind.none)
	}
	return nil
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

// object reads one object: one of the reader's kind, or a list of objects. In a
// flawed one parts are missing.
func (r *reader) object(file string, n *node, path string, flawed bool, bad report) {
	if r.full {
		return
	}
	if n.kind != mapping {
		bad(n.line, n.column, path, "expected a mapping with apiVersion and kind, found "+n.describe())
		return
	}
	version := r.kind.version.String()
	apiVersion, ok1 := header(n, path, "apiVersion", version, bad)
	kind, ok2 := header(n, path, "kind", r.kind.name, bad)
	if !ok1 || !ok2 {
		return
	}
	own := apiVersion == version
	switch {
	case own && kind == r.kind.name:
		r.one(file, n, path, flawed, bad)
	case own && kind == r.kind.name+"List", apiVersion == "v1" && kind == "List":
		r.list(file, n, path, flawed, bad)
	default:
		line, column, _ := n.place("kind")
		bad(line, column, join(path, "kind"), fmt.Sprintf("%s of apiVersion %s is not read here, only %s of apiVersion %s",
			quote(kind), quote(apiVersion), r.kind.name, version))
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

func (r *reader) one(file string, n *node, path string, flawed bool, report report) {
	reported := make(map[string]bool)
	bad := func(line, column int, path, message string) {
		reported[path] = true
		report(line, column, path, message)
	}

	o := r.kind.new()
	decode(readable(n, path, bad), reflect.ValueOf(o).Elem(), path, bad)
	flawed = flawed || len(reported) > 0

	ctx := r.kind.context(context.Background())
	if o.GetNamespace() == "" {
		o.SetNamespace(defaultNamespace)
	}
	o.SetDefaults(ctx)

	wrong := o.Validate(ctx).Also(r.kind.check(o).ViaField("spec"))
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

	name := o.GetNamespace() + "/" + o.GetName()
	line, column, _ := n.place("metadata.name")
	place := fmt.Sprintf("%s:%d", file, line)
	if first, twice := r.places[name]; twice && o.GetName() != "" {
		report(line, column, join(path, "metadata.name"), fmt.Sprintf("the %s %s is already defined at %s", r.kind.word, name, first))
		return
	}
	r.places[name] = place
	if len(r.sinks)+len(r.sources) >= MaxSinks {
		r.full = true
		report(n.line, n.column, path, fmt.Sprintf("more than %d %ss", MaxSinks, r.kind.word))
		return
	}
	r.kind.keep(r, o, Place{File: file, Line: n.line, Dir: folder(file)})
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
