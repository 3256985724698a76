// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command openwhisk-go is an Apache OpenWhisk action: a function from parameters to a
// result, and the loop that OpenWhisk's Go runtime puts around one.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
)

var events int

// greet is the action. It counts its events in memory and in a file.
func greet(params map[string]any) (map[string]any, error) {
	name, ok := params["name"].(string)
	if !ok || name == "" {
		return nil, errors.New("the parameter name is missing")
	}
	fmt.Println("greeting", name) // the action's log
	inFile, err := countInFile()
	if err != nil {
		return nil, err
	}
	events++
	return map[string]any{"greeting": "Hello, " + name + "!", "activation": os.Getenv("__OW_ACTIVATION_ID") != "", "event": events, "in_file": inFile}, nil
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
	results := json.NewEncoder(os.NewFile(3, "results"))
	if os.Getenv("__OW_WAIT_FOR_ACK") != "" {
		if err := results.Encode(map[string]bool{"ok": true}); err != nil {
			log.Fatal(err)
		}
	}
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return // nothing more to do
		}
		if err := results.Encode(run(line)); err != nil {
			log.Fatal(err)
		}
	}
}

// run returns the result of one activation.
func run(line []byte) map[string]any {
	var activation map[string]any
	if err := json.Unmarshal(line, &activation); err != nil {
		return failed(err)
	}
	for key, value := range activation {
		if text, ok := value.(string); ok {
			if err := os.Setenv("__OW_"+strings.ToUpper(key), text); err != nil {
				return failed(err)
			}
		}
	}
	params, _ := activation["value"].(map[string]any)
	result, err := greet(params)
	if err != nil {
		return failed(err)
	}
	return result
}

// failed is the result of an activation that will never do, as web actions say it.
func failed(err error) map[string]any {
	return map[string]any{"error": map[string]any{"statusCode": 400, "body": err.Error()}}
}
