// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command guest is the program of the tests of sources: its arguments say what it does.
package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const state = "/state"

func main() {
	if err := run(os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "guest:", err)
		os.Exit(1)
	}
}

func run(what string, args []string) error {
	switch what {
	case "count":
		return count(args[0])
	case "http":
		return serve()
	}
	return stream(what)
}

// count counts its runs in the state file; how says what it does with that.
func count(how string) error {
	early := []byte("unread")
	if how == "early" { // before it reads its event
		early, _ = os.ReadFile(state)
	}
	if _, err := io.ReadAll(os.Stdin); err != nil {
		return err
	}
	before, err := os.ReadFile(state)
	if err != nil {
		return err
	}
	if info, err := os.Stat(state); err != nil || info.Size() != int64(len(before)) {
		return fmt.Errorf("%v, %w", info, err)
	}
	if how == "early" && !bytes.Equal(early, before) {
		return fmt.Errorf("%q was in the state file, and then %q", early, before)
	}
	n, _ := strconv.Atoi(string(before)) // none at first
	n++
	next := []byte(strconv.Itoa(n))
	switch how {
	case "rename":
		if err = os.WriteFile(state+".new", next, 0o600); err == nil {
			err = os.Rename(state+".new", state)
		}
	case "large":
		err = os.WriteFile(state, bytes.Repeat([]byte("x"), 101), 0o600)
	case "full":
		err = os.WriteFile(state, bytes.Repeat([]byte("1"), 100), 0o600)
	case "remove":
		err = os.Remove(state)
	case "folder":
		if err = os.Remove(state); err == nil {
			err = os.Mkdir(state, 0o700)
		}
	case "leave":
	default:
		err = os.WriteFile(state, next, 0o600)
	}
	fmt.Println("run", n)
	if how == "fail" {
		os.Exit(3)
	}
	return err
}

// serve answers GET.
func serve() error {
	http.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		before, err := os.ReadFile(state)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		n, _ := strconv.Atoi(string(before))
		if err := os.WriteFile(state, []byte(strconv.Itoa(n+1)), 0o600); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		id := r.Header.Get("Ce-Id")
		switch n {
		case 0:
			w.Header().Set("Ce-Specversion", "1.0")
			w.Header().Set("Ce-Id", id+"/binary")
			w.Header().Set("Ce-Source", "/guest")
			w.Header().Set("Ce-Type", "guest")
			w.Header().Set("Content-Type", "text/plain")
			fmt.Fprint(w, "data")
		case 1:
			w.WriteHeader(http.StatusNoContent)
		case 2:
			w.Header().Set("Content-Type", "application/cloudevents-batch+json")
			fmt.Fprintf(w, "[%s,%s]", event(id+"/1"), event(id+"/2"))
		case 3:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, "[%s]", event(id+"/json"))
		case 4:
			w.Header().Set("Content-Type", "image/png")
			fmt.Fprint(w, "picture")
		case 5:
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "no events here")
		default:
			os.Exit(7)
		}
	})
	return http.ListenAndServe(":"+os.Getenv("PORT"), nil) //nolint:gosec // In a virtual machine.
}

func event(id string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":%q,"source":"/guest","type":"guest"}`, id)
}

// stream writes lines as a program that runs on does.
func stream(what string) error {
	fmt.Fprintln(os.Stderr, "begun")
	switch what {
	case "lines": // more than all that is on the way may hold
		line := strings.Repeat("x", 1000)
		for i := range 3000 {
			fmt.Printf("%d %s\n", i, line)
		}
		fmt.Print("the last")
		return nil
	case "long":
		fmt.Println("short")
		fmt.Print(strings.Repeat("y", 2<<20))
	case "half":
		fmt.Print("whole\nha")
		return io.ErrUnexpectedEOF
	case "asked": // and ends in good order
		asked := make(chan os.Signal, 1)
		signal.Notify(asked, syscall.SIGTERM)
		fmt.Println("ready")
		<-asked
		fmt.Println("bye")
		return nil
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("ready")
	case "closes":
		fmt.Println("only")
		if err := os.Stdout.Close(); err != nil {
			return err
		}
	case "flood":
		for i := 0; ; i++ {
			fmt.Println(i)
		}
	}
	for {
		time.Sleep(time.Hour)
	}
}
