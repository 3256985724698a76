// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package object

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"kontain.dev/eventing/pkg/apis/sources/v1alpha1"
	"kontain.dev/eventing/pkg/source/journal"
)

// patience is the longest that a test waits for what should take moments.
const patience = time.Minute

// server has one object, as an API server has it.
type server struct {
	mu      sync.Mutex
	object  *v1alpha1.KontainSourceState
	version int
	writes  int
	// fail, when set, says what comes of a write before it is done; lost, of one that is done.
	fail, lost func(n int) error
}

var resource = schema.GroupResource{Group: "sources.kontain.dev", Resource: "kontainsourcestates"}

func (s *server) Get(_ context.Context, name string, _ metav1.GetOptions) (*v1alpha1.KontainSourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.object == nil {
		return nil, apierrors.NewNotFound(resource, name)
	}
	return s.object.DeepCopy(), nil
}

func (s *server) Create(_ context.Context, o *v1alpha1.KontainSourceState, _ metav1.CreateOptions) (*v1alpha1.KontainSourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.object != nil {
		return nil, apierrors.NewAlreadyExists(resource, o.Name)
	}
	return s.set(o)
}

func (s *server) Update(_ context.Context, o *v1alpha1.KontainSourceState, _ metav1.UpdateOptions) (*v1alpha1.KontainSourceState, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.object == nil:
		return nil, apierrors.NewNotFound(resource, o.Name)
	case s.object.ResourceVersion != o.ResourceVersion:
		return nil, apierrors.NewConflict(resource, o.Name, errors.New("it is another version"))
	}
	return s.set(o)
}

func (s *server) set(o *v1alpha1.KontainSourceState) (*v1alpha1.KontainSourceState, error) {
	s.writes++
	if s.fail != nil {
		if err := s.fail(s.writes); err != nil {
			return nil, err
		}
	}
	s.version++
	s.object = o.DeepCopy()
	s.object.ResourceVersion = strconv.Itoa(s.version)
	if s.lost != nil {
		if err := s.lost(s.writes); err != nil {
			return nil, err
		}
	}
	return s.object.DeepCopy(), nil
}

func (s *server) content(t *testing.T) *content {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := decode(s.object.Journal)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var source = &v1alpha1.KontainSource{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "beat", UID: "1"}}

func open(t *testing.T, s *server) *Journal {
	t.Helper()
	j, err := Claim(t.Context(), Config{Client: s, Source: source, Identity: "pod"})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

var start = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// due is when run n was due.
func due(n int) time.Time { return start.Add(time.Duration(n) * time.Second) }

func events(text string) []json.RawMessage { return []json.RawMessage{json.RawMessage(text)} }

func add(t *testing.T, j *Journal, n int) {
	t.Helper()
	if _, err := j.Add(due(n), events(`{"n":`+strconv.Itoa(n)+`}`), []byte{byte(n)}); err != nil {
		t.Fatal(err)
	}
}

func deliver(t *testing.T, j *Journal, n int) {
	t.Helper()
	r, err := j.Oldest()
	if err != nil || r == nil || !r.Scheduled.Equal(due(n)) || string(r.Events[0]) != `{"n":`+strconv.Itoa(n)+`}` {
		t.Fatalf("the oldest run is %+v, %v; want that of %d", r, err, n)
	}
	if err := j.Delivered(r); err != nil {
		t.Fatal(err)
	}
}

// A run is in the object when it was added, and an adapter that was killed is followed by
// one that has what was there.
func TestKilled(t *testing.T) {
	s := &server{}
	j := open(t, s)
	begun := j.Reached().Begun
	add(t, j, 1)
	add(t, j, 2)
	deliver(t, j, 1)
	if c := s.content(t); len(c.Runs) != 2 {
		t.Fatalf("%d runs are in the object", len(c.Runs))
	}
	// Nobody closes it; what was delivered since the last write is not there.
	k := open(t, s)
	if !k.Reached().Begun.Equal(begun) || !k.Dealt().Equal(due(2)) {
		t.Errorf("begun %v and dealt %v, want %v and %v", k.Reached().Begun, k.Dealt(), begun, due(2))
	}
	deliver(t, k, 1)
	deliver(t, k, 2)
	if r := k.Reached(); r.Run != 2 || !bytes.Equal(r.State, []byte{2}) {
		t.Errorf("reached %+v", r)
	}
	add(t, k, 3)
	if c := s.content(t); len(c.Runs) != 1 || c.Reached.Run != 2 || c.Runs[0].Number != 3 {
		t.Errorf("the object has %+v", c)
	}
	deliver(t, k, 3)
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if c := s.content(t); len(c.Runs) != 0 || c.Reached.Run != 3 {
		t.Errorf("after a clean end the object has %+v", c)
	}
}

// Who was overtaken writes nothing more, and is told so.
func TestFence(t *testing.T) {
	s := &server{}
	old := open(t, s)
	add(t, old, 1)
	young := open(t, s)
	if _, err := old.Add(due(2), events("{}"), nil); !errors.Is(err, ErrTaken) {
		t.Fatalf("the old adapter's run: %v", err)
	}
	select {
	case <-old.Lost():
	default:
		t.Error("it is not lost")
	}
	if _, err := old.Oldest(); !errors.Is(err, ErrTaken) {
		t.Errorf("the old adapter may still send: %v", err)
	}
	if err := old.Passed(due(9)); !errors.Is(err, ErrTaken) {
		t.Errorf("passed: %v", err)
	}
	if err := old.Close(); err != nil {
		t.Error(err)
	}
	deliver(t, young, 1)
	add(t, young, 2)
	deliver(t, young, 2)
}

// A write whose answer is lost, one that is refused for a while, and a label that somebody
// puts on the object are no harm.
func TestWrites(t *testing.T) {
	s := &server{}
	j := open(t, s)
	s.fail = func(n int) error {
		if n == 2 {
			return apierrors.NewServiceUnavailable("for a moment")
		}
		return nil
	}
	s.lost = func(n int) error {
		if n == 3 {
			return apierrors.NewTimeoutError("on the way back", 0)
		}
		return nil
	}
	add(t, j, 1)
	s.mu.Lock()
	s.version++
	s.object.ResourceVersion = strconv.Itoa(s.version)
	s.object.Labels = map[string]string{"a": "b"}
	s.mu.Unlock()
	add(t, j, 2)
	deliver(t, j, 1)
	deliver(t, j, 2)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if s.object.Labels["a"] != "b" || s.content(t).Reached.Run != 2 {
		t.Errorf("%+v", s.object)
	}
}

// What is no new run is written later, by itself.
func TestLater(t *testing.T) {
	s := &server{}
	j := open(t, s)
	j.report = func() v1alpha1.Report { return v1alpha1.Report{Generation: 7} }
	add(t, j, 1)
	deliver(t, j, 1)
	for end := time.Now().Add(patience); s.content(t).Reached.Run != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is not written")
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.object.Report.Generation != 7 {
		t.Errorf("report %+v", s.object.Report)
	}
	if s.writes != 3 {
		t.Errorf("%d writes, want 3: the claim, the run, and that it was delivered", s.writes)
	}
}

func TestBounds(t *testing.T) {
	s := &server{}
	j := open(t, s)
	var large *journal.TooLargeError
	if _, err := j.Add(due(1), events(`"`+string(bytes.Repeat([]byte("x"), MaxBytes))+`"`), nil); !errors.As(err, &large) {
		t.Fatalf("a run that is too large: %v", err)
	}
	n := 0
	for ; j.Room() == nil; n++ {
		if _, err := j.Add(due(n), events(`"`+string(bytes.Repeat([]byte("x"), MaxBytes/10))+`"`), nil); err != nil {
			t.Fatal(err)
		}
	}
	var full *journal.FullError
	if err := j.Room(); n != 10 || !errors.As(err, &full) || full.Runs != 10 {
		t.Errorf("%d runs had room: %v", n, err)
	}
	// A run may have been begun while there was room, and be the largest.
	if _, err := j.Add(due(n), events(`"`+string(bytes.Repeat([]byte("x"), MaxBytes-200))+`"`), nil); err != nil {
		t.Error(err)
	}
	text, err := json.Marshal(s.object)
	if err != nil || len(text) > 3<<19 {
		t.Errorf("the object has %d bytes, more than etcd takes: %v", len(text), err)
	}
}

// A source that was deleted and made anew has nothing of the one before; and a state that
// is gone ends the source.
func TestOwner(t *testing.T) {
	s := &server{}
	j := open(t, s)
	add(t, j, 1)
	again := source.DeepCopy()
	again.UID = "2"
	k, err := Claim(t.Context(), Config{Client: s, Source: again, Identity: "pod"})
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := k.Waiting(); n != 0 || !k.Dealt().IsZero() {
		t.Errorf("%d runs wait", n)
	}
	s.mu.Lock()
	s.object = nil
	s.mu.Unlock()
	if _, err := k.Add(due(1), events("{}"), nil); !errors.Is(err, ErrGone) {
		t.Error(err)
	}
}

func TestDamaged(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON": "{", "another format": `{"version":9}`, "out of order": `{"version":1,"reached":{"run":3},"runs":[{"run":3}]}`,
	} {
		s := &server{}
		open(t, s)
		s.object.Journal = []byte(text)
		if _, err := Claim(t.Context(), Config{Client: s, Source: source, Identity: "pod"}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"version":1,"reached":{"run":3,"state":"AA=="},"runs":[{"run":4,"scheduled":"2026-11-23T12:00:00Z","events":[{}]}]}`))
	f.Add([]byte(`{"version":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decode(b)
		if err != nil || c == nil {
			return
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decode(text); err != nil {
			t.Errorf("what was read cannot be read again: %v", err)
		}
	})
}
