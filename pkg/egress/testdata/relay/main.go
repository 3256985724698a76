// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program relay answers an event with what it gets from the URL in it, or with what
// became of the connection that it opened before its first event. Its first argument is
// the contract that it keeps to, its second one the address of that connection.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

// held is the connection from before the first event.
var held net.Conn

// data is that of an event.
type data struct{ URL string }

// answer gets a URL; none stands for the connection that is held.
func answer(from data) (string, error) {
	if from.URL == "" {
		_, err := io.Copy(io.Discard, held) // what had come in is there
		var errno syscall.Errno
		if errors.As(err, &errno) {
			return errno.Error(), nil
		}
		return fmt.Sprint(err), nil
	}
	got, err := http.Get(from.URL)
	if err != nil {
		return "", err
	}
	defer func() { _ = got.Body.Close() }()
	b, err := io.ReadAll(got.Body)
	return string(b), err
}

// asked says whether this program is ready when it says so. Otherwise it is when it
// waits for something, and that is not to be a byte from outside.
func asked() bool { return os.Args[1] != "actionloop" || os.Getenv("__OW_WAIT_FOR_ACK") != "" }

func main() {
	if len(os.Args) > 2 {
		var err error
		if held, err = net.Dial("tcp", os.Args[2]); err == nil && asked() { //nolint:gosec // the test says where to
			_, err = io.ReadFull(held, make([]byte, 1))
		}
		if err != nil {
			log.Fatal("before the event: ", err)
		}
	}
	switch os.Args[1] {
	case "http":
		serve("PORT", "/", func(body []byte) (any, error) {
			var from data
			err := json.Unmarshal(body, &from)
			return from, err
		}, func(s string) any { return s })
	case "lambda":
		lambda.Start(func(e struct{ Data data }) (string, error) { return answer(e.Data) })
	case "openwhisk":
		http.HandleFunc("/init", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"ok":true}`) })
		serve("", "/run", func(body []byte) (any, error) {
			var run struct{ Value struct{ Data data } }
			err := json.Unmarshal(body, &run)
			return run.Value.Data, err
		}, func(s string) any { return map[string]string{"text": s} })
	case "actionloop":
		loop()
	case "azure":
		serve("FUNCTIONS_CUSTOMHANDLER_PORT", "/relay", func(body []byte) (any, error) {
			var invocation struct {
				Data struct{ Event struct{ Data data } }
			}
			err := json.Unmarshal(body, &invocation)
			return invocation.Data.Event.Data, err
		}, func(s string) any { return map[string]string{"ReturnValue": s} })
	}
}

// serve answers requests to a path on the port that a variable names, or 8080.
func serve(variable, path string, read func([]byte) (any, error), write func(string) any) {
	http.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var from any
		if err == nil {
			from, err = read(body)
		}
		var text string
		if err == nil {
			text, err = answer(from.(data))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(write(text))
	})
	port := os.Getenv(variable)
	if port == "" {
		port = "8080"
	}
	log.Fatal((&http.Server{Addr: ":" + port, ReadHeaderTimeout: time.Minute}).ListenAndServe())
}

// loop is an action of OpenWhisk that reads lines.
func loop() {
	results := json.NewEncoder(os.NewFile(3, "results"))
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" {
		if err := results.Encode(map[string]bool{"ok": true}); err != nil {
			log.Fatal(err)
		}
	}
	for lines := bufio.NewReader(os.Stdin); ; {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var activation struct{ Value struct{ Data data } }
		result := map[string]string{}
		if err = json.Unmarshal(line, &activation); err == nil {
			result["text"], err = answer(activation.Value.Data)
		}
		if err != nil {
			result["error"] = err.Error()
		}
		if err := results.Encode(result); err != nil {
			log.Fatal(err)
		}
	}
}
