// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command fetch-go is a function that needs the network: it gets the URL that its event
// names and answers with what is there. What it may connect to is up to its manifest.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// most is how much of an answer counts, in bytes.
const most = 64 << 10

func main() {
	var event struct {
		Data struct {
			URL string `json:"url"`
		} `json:"data"`
	}
	in, err := io.ReadAll(os.Stdin)
	if err == nil {
		err = json.Unmarshal(in, &event)
	}
	if err != nil || event.Data.URL == "" {
		fmt.Fprintln(os.Stderr, `fetch-go: the data of the event must be {"url": TEXT}`)
		os.Exit(65) // trying again is no use
	}
	answer, err := fetch(event.Data.URL)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(answer)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fetch-go:", err)
		os.Exit(1)
	}
}

type answer struct {
	Status int    `json:"status"`
	Text   string `json:"text"`
}

func fetch(url string) (*answer, error) {
	client := http.Client{Timeout: 5 * time.Second}
	r, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(r.Body, most))
	return &answer{r.StatusCode, strings.TrimSpace(string(text))}, err
}
