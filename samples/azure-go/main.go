// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command azure-go is a custom handler of Azure Functions with two functions: order,
// which Event Grid calls, and greet, which HTTP does. Nothing in it knows of Kontain
// Eventing. It counts its events in memory and in a file, to show that each finds it as it
// was when it was ready.
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

// request is what the Functions host posts.
type request struct {
	Data struct {
		Order struct { // the trigger's name in function.json
			ID   string
			Data struct {
				Item     string
				Quantity int
			}
		}
	}
}

// response is what it takes for an answer.
type response struct {
	Outputs     map[string]any
	Logs        []string
	ReturnValue any
}

func order(w http.ResponseWriter, r *http.Request) {
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "this is no invocation: "+err.Error(), http.StatusBadRequest)
		return
	}
	o := in.Data.Order
	if o.Data.Item == "" || o.Data.Quantity <= 0 {
		http.Error(w, "an order has an item and a quantity", http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	answer := response{
		Logs:        []string{fmt.Sprintf("order %q of %d", o.ID, o.Data.Quantity)},
		ReturnValue: map[string]any{"accepted": o.Data.Item, "parcels": (o.Data.Quantity + 9) / 10, "event": count(), "in_file": inFile()},
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}

// httpRequest is what the Functions host posts for a function with an HTTP trigger.
type httpRequest struct {
	Data struct {
		Req struct { // the trigger's name in function.json
			Headers map[string][]string
			Body    string
		}
	}
}

func greet(w http.ResponseWriter, r *http.Request) {
	var in httpRequest
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		http.Error(w, "this is no invocation: "+err.Error(), http.StatusBadRequest)
		return
	}
	var who struct{ Name string }
	res := map[string]any{"statusCode": http.StatusOK, "headers": map[string]string{"Content-Type": "application/json"}}
	if err := json.Unmarshal([]byte(in.Data.Req.Body), &who); err != nil || who.Name == "" {
		res = map[string]any{"statusCode": http.StatusBadRequest, "body": "a greeting needs a name"}
	} else {
		res["body"] = map[string]any{"greeting": "hello, " + who.Name, "event": count(), "in_file": inFile()}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(response{Outputs: map[string]any{"res": res}}); err != nil {
		log.Print(err)
	}
}

var events atomic.Int64

func count() int64 { return events.Add(1) }

// inFile returns how many events a file in /tmp has seen.
func inFile() int64 {
	f, err := os.OpenFile(os.TempDir()+"/count", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := f.WriteString("x"); err != nil {
		log.Fatal(err)
	}
	st, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
	return st.Size()
}

func main() {
	port := os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/order", order)
	http.HandleFunc("/greet", greet)
	server := http.Server{Addr: ":" + port, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
