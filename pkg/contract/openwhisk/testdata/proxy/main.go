// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program proxy is an HTTP server as OpenWhisk's proxies are: it is given its action's
// code, which is a word that says what the action does, and runs that.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"kontain.dev/eventing/pkg/contract/openwhisk/testdata/internal/action"
)

// initialization is what /init got; empty before.
var initialization string

func main() {
	if len(os.Args) > 1 {
		fmt.Fprintln(os.Stderr, "no configuration")
		os.Exit(4)
	}
	http.HandleFunc("/init", initialize)
	http.HandleFunc("/run", run)
	log.Fatal((&http.Server{Addr: ":8080", ReadHeaderTimeout: time.Minute}).ListenAndServe())
}

func initialize(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Value struct {
			Name, Main, Code string
			Binary           bool
			Env              map[string]string
		}
	}
	v := &request.Value
	err := json.NewDecoder(r.Body).Decode(&request)
	switch {
	case err != nil:
		fail(w, http.StatusBadRequest, err.Error())
		return
	case initialization != "":
		fail(w, http.StatusForbidden, "Cannot initialize the action more than once.")
		return
	case v.Code == "broken":
		fail(w, http.StatusBadGateway, "there is no function in it")
		return
	}
	initialization = fmt.Sprintf("%s %s %q %v %s", v.Name, v.Main, v.Code, v.Binary, v.Env["__OW_ACTION_NAME"])
	_, _ = io.WriteString(w, "OK")
}

func run(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || initialization == "" {
		fail(w, http.StatusForbidden, "not initialized")
		return
	}
	result := action.Run(body, initialization)
	fmt.Print("no end of line", action.Sentinel)
	fmt.Fprint(os.Stderr, "to stderr\n", action.Sentinel)
	switch string(result) {
	case "status":
		fail(w, http.StatusBadGateway, "it broke")
		return
	case "status without JSON":
		w.WriteHeader(http.StatusInternalServerError)
	}
	_, _ = w.Write(result)
}

func fail(w http.ResponseWriter, status int, text string) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}
