// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command feed-go is the program of a source: each time it runs it gets an Atom feed
// (RFC 4287) and writes an event for each entry that is new since the run before. How far
// it came is in the file /state, which goes from run to run.
package main

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"slices"
	"time"
)

const (
	state = "/state"
	most  = 4 << 20 // bytes of a feed
)

type feed struct {
	Entries []entry `xml:"entry"`
}

type entry struct {
	ID      string    `xml:"id" json:"id"`
	Title   string    `xml:"title" json:"title"`
	Updated time.Time `xml:"updated" json:"updated"`
}

// cursor is how far the feed was read: entries are new beyond it.
type cursor struct {
	Updated time.Time `json:"updated"`
	ID      string    `json:"id"`             // of those that were updated then, up to this one
	Tag     string    `json:"etag,omitempty"` // of the feed: it need not be sent again
}

func main() {
	if err := poll(os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "feed-go:", err)
		os.Exit(1) // nothing of this run counts, and the next begins where it did
	}
}

func poll(url string, out io.Writer) error {
	// What its event says is not needed, but to wait for it is: the program goes on from
	// a snapshot here, in each run.
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	at, err := load()
	if err != nil {
		return err
	}
	f, err := get(url, &at)
	if err != nil {
		return err
	}
	w := json.NewEncoder(out)
	for _, e := range newer(f, at) {
		if err := w.Encode(event(url, e)); err != nil {
			return err
		}
		at.Updated, at.ID = e.Updated, e.ID
	}
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	return os.WriteFile(state, b, 0o600)
}

// load reads the state file, which is empty in the first run.
func load() (at cursor, err error) {
	b, err := os.ReadFile(state)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return at, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	return at, err
}

// get gets the feed, unless it is what it was.
func get(url string, at *cursor) (*feed, error) {
	r, err := http.NewRequest(http.MethodGet, url, nil) //nolint:gosec // Its manifest says which, and what can be reached.
	if err != nil {
		return nil, err
	}
	if at.Tag != "" {
		r.Header.Set("If-None-Match", at.Tag)
	}
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Do(r) //nolint:gosec // As above.
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotModified:
		return &feed{}, nil
	default:
		return nil, fmt.Errorf("%s answered %s", url, resp.Status)
	}
	var f feed
	if err := xml.NewDecoder(io.LimitReader(resp.Body, most)).Decode(&f); err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	at.Tag = resp.Header.Get("Etag")
	return &f, nil
}

// newer returns the entries beyond a cursor, the oldest first.
func newer(f *feed, at cursor) []entry {
	entries := slices.DeleteFunc(slices.Clone(f.Entries), func(e entry) bool {
		return cmp.Or(e.Updated.Compare(at.Updated), cmp.Compare(e.ID, at.ID)) <= 0
	})
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(a.Updated.Compare(b.Updated), cmp.Compare(a.ID, b.ID))
	})
	return entries
}

func event(url string, e entry) map[string]any {
	return map[string]any{
		"specversion": "1.0",
		// The same entry has the same id, should the run be made again.
		"id":     e.ID + " " + e.Updated.UTC().Format(time.RFC3339Nano),
		"source": url,
		"type":   "dev.kontain.samples.feed.entry",
		"time":   e.Updated.UTC(),
		"data":   e,
	}
}
