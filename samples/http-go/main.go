// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command http-go is a micro service as for Knative Serving: an HTTP server on $PORT
// that is posted CloudEvents. Nothing in it knows of Kontain Eventing. It counts its
// requests in memory, to show that each event finds it as it was when it was ready.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

var count atomic.Int64

func greet(w http.ResponseWriter, r *http.Request) {
	var data struct {
		Name string `json:"name"`
	}
	if err := json.NewDecoder(r.Body).Decode(&data); err != nil || data.Name == "" {
		http.Error(w, `the data of the event must be {"name": TEXT}`, http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Ce-Specversion", "1.0")
	w.Header().Set("Ce-Id", r.Header.Get("Ce-Id")+"-greeting")
	w.Header().Set("Ce-Source", "/samples/http-go")
	w.Header().Set("Ce-Type", "dev.kontain.samples.greeting")
	answer, err := json.Marshal(map[string]any{"greeting": "hello, " + data.Name, "request": count.Add(1)})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := w.Write(append(answer, '\n')); err != nil {
		log.Print(err)
	}
}

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("POST /", greet)
	http.HandleFunc("GET /health/readiness", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ready") })
	server := &http.Server{Addr: ":" + port, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
