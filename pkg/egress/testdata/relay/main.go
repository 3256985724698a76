// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program relay is an HTTP server that answers a request with what it gets from the URL
// in it.
package main

import (
	"encoding/json"
	"io"
	"log"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var from struct{ URL string }
		if err := json.NewDecoder(r.Body).Decode(&from); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		got, err := http.Get(from.URL)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		defer got.Body.Close()
		w.Header().Set("Ce-Specversion", "1.0")
		w.Header().Set("Ce-Id", r.Header.Get("Ce-Id")+"-relay")
		w.Header().Set("Ce-Source", "/relay")
		w.Header().Set("Ce-Type", "relay")
		w.Header().Set("Content-Type", "text/plain")
		io.Copy(w, got.Body)
	})
	log.Fatal(http.ListenAndServe(":"+os.Getenv("PORT"), nil))
}
