// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command cloudevents-go is a receiver of CloudEvents with the CloudEvents SDK for Go, as
// for Knative Serving. Nothing in it knows of Kontain Eventing. It counts its events in
// memory and in a file, to show that each finds it as it was when it was ready.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"strconv"
	"sync/atomic"

	cloudevents "github.com/cloudevents/sdk-go/v2"
)

var events atomic.Int64

type greeting struct {
	Greeting string `json:"greeting"`
	Event    int64  `json:"event"`
	InFile   int64  `json:"in_file"`
}

func receive(_ context.Context, e cloudevents.Event) (*cloudevents.Event, cloudevents.Result) {
	var data struct{ Name string }
	if err := e.DataAs(&data); err != nil || data.Name == "" {
		return nil, cloudevents.NewHTTPResult(http.StatusBadRequest, `the data of the event must be {"name": TEXT}`)
	}
	inFile, err := countInFile()
	if err != nil {
		return nil, cloudevents.NewHTTPResult(http.StatusInternalServerError, "%w", err)
	}
	answer := cloudevents.NewEvent()
	answer.SetID(e.ID() + "-greeting")
	answer.SetSource("/samples/cloudevents-go")
	answer.SetType("dev.kontain.samples.greeting")
	err = answer.SetData(cloudevents.ApplicationJSON, greeting{"hello, " + data.Name, events.Add(1), inFile})
	return &answer, err
}

// countInFile returns how many events a file in /tmp has seen.
func countInFile() (int64, error) {
	f, err := os.OpenFile(os.TempDir()+"/count", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString("x"); err != nil {
		return 0, err
	}
	st, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return st.Size(), nil
}

func main() {
	port, err := strconv.Atoi(os.Getenv("PORT"))
	if err != nil {
		port = 8080
	}
	client, err := cloudevents.NewClientHTTP(cloudevents.WithPort(port))
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(client.StartReceiver(context.Background(), receive))
}
