// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command azure-go is a custom handler of Azure Functions with one function, order.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

// request is what the Functions host posts.
type request struct {
	Data struct {
		Order struct { // named by contract.azure.binding
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
		ReturnValue: map[string]any{"accepted": o.Data.Item, "parcels": (o.Data.Quantity + 9) / 10},
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		log.Print(err)
	}
}

func main() {
	port := os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT")
	if port == "" {
		port = "8080"
	}
	http.HandleFunc("/order", order)
	server := http.Server{Addr: ":" + port, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
