// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

// raw is a runtime that does not keep to the API.
func raw(what string) {
	api := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime"
	post := func(path, body string) string {
		r, err := http.Post(api+path, "application/json", strings.NewReader(body)) //nolint:gosec // the address that a runtime is told
		if err != nil {
			log.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			log.Fatal(err)
		}
		return fmt.Sprint(r.StatusCode, " ", string(b))
	}
	next := func() string {
		r, err := http.Get(api + "/invocation/next") //nolint:gosec // the same
		if err != nil {
			log.Fatal(err)
		}
		defer func() { _ = r.Body.Close() }()
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			log.Fatal(err)
		}
		return r.Header.Get("Lambda-Runtime-Aws-Request-Id")
	}
	switch what {
	case "init-error":
		post("/init/error", `{"errorMessage":"no such handler","errorType":"Runtime.NoHandler"}`)
		os.Exit(1)
	case "exit":
		fmt.Fprintln(os.Stderr, "no configuration")
		os.Exit(4)
	case "nonsense":
		// Something else than HTTP, then a proper life.
		post("/no/such/path", "x")
	}
	id := next()
	switch what {
	case "next":
		next()
	case "wrong-id":
		said := post("/invocation/other/response", `1`)
		post("/invocation/"+id+"/response", fmt.Sprintf("%q", said))
	case "error-type":
		post("/invocation/"+id+"/error", `not JSON`)
	case "twice":
		post("/invocation/"+id+"/response", `"first"`)
		post("/invocation/"+id+"/response", `"second"`)
	case "expect": // as curl does with what is large
		client := http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Hour}}
		r, err := http.NewRequest(http.MethodPost, api+"/invocation/"+id+"/response", strings.NewReader(`"expect"`)) //nolint:gosec // the same
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Expect", "100-continue")
		answer, err := client.Do(r) //nolint:gosec // the same
		if err != nil {
			log.Fatal(err)
		}
		_ = answer.Body.Close()
	case "unknown":
		said := post("/invocation/"+id+"/nothing", `1`)
		post("/invocation/"+id+"/response", fmt.Sprintf("%q", said))
	default:
		post("/invocation/"+id+"/response", `"`+what+`"`)
	}
	time.Sleep(time.Hour)
}
