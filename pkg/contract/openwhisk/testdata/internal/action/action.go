// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Package action is an OpenWhisk action that does what its parameters say.
package action

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strconv"
	"strings"
	"time"
)

// Sentinel is what a proxy ends the log of an activation with.
const Sentinel = "XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n"

var count int

var results = map[string]string{
	"none":      `{}`,
	"object":    `{"a":1}`,
	"array":     `[1, 2]`,
	"event":     `{"specversion":"1.0","id":"1","source":"/s","type":"action.type","data":7}`,
	"bad":       `{"specversion":"1.0","id":""}`,
	"error":     `{"error":"it went wrong\nbadly"}`,
	"error 1":   `{"error":{"code":[1]}}`,
	"error 4":   `{"error":{"statusCode":404,"body":"not for me"}}`,
	"busy":      `{"error":{"statusCode":429}}`,
	"null":      `null`,
	"text":      `"text"`,
	"no result": ``,
	"no JSON":   `{ error: "x" }`,
	"two":       `{"a":1}{"b":2}`,
	"huge":      `{"a":"` + strings.Repeat("x", 2<<20) + `"}`,
	"deep":      `{"a":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`,
}

// Run returns the result of the activation in body.
func Run(body []byte, initialization string) []byte {
	var activation map[string]json.RawMessage
	if err := json.Unmarshal(body, &activation); err != nil {
		log.Fatal(err)
	}
	var value struct {
		ID   string
		Data json.RawMessage
		What string
	}
	if err := json.Unmarshal(activation["value"], &value); err != nil {
		log.Fatal(err)
	}
	var what string
	if json.Unmarshal(value.Data, &what) != nil {
		what = value.What
	}
	switch what {
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "sleep":
		time.Sleep(time.Hour)
	case "panic":
		panic("out of cheese")
	case "context":
		return context(activation)
	case "status", "status without JSON":
		return []byte(what)
	}
	if r, ok := results[what]; ok {
		return []byte(r)
	}
	return fmt.Appendf(nil, `{"memory":%d,"tmp":%d,"init":%q,"id":%q}`, counted(), written(), initialization, value.ID)
}

// context returns what the activation says of itself, when that is as it should be.
func context(activation map[string]json.RawMessage) []byte {
	get := func(name string) string {
		var s string
		if err := json.Unmarshal(activation[name], &s); err != nil {
			return err.Error()
		}
		return s
	}
	ms, _ := strconv.ParseInt(get("deadline"), 10, 64)
	left := time.Until(time.UnixMilli(ms))
	return fmt.Appendf(nil, `{"namespace":%q,"action":%q,"host":%q,"key":%q,"ids":[%d,%d],"deadline":%v}`,
		get("namespace"), get("action_name"), get("api_host"), get("api_key"), len(get("activation_id")), len(get("transaction_id")), left > 0 && left < time.Hour)
}

func counted() int {
	count++
	return count
}

func written() int64 {
	f, err := os.OpenFile("/tmp/count", os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
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
