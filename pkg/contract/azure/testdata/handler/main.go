// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Program handler is a custom handler of Azure Functions that does what its events say.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"
	"time"
)

var count int

func main() {
	http.HandleFunc("/work", work)
	http.HandleFunc("/api/work", forwarded)
	http.HandleFunc("/v1/orders/new", forwarded)
	http.HandleFunc("/web", web)
	http.HandleFunc("/queue", queue)
	http.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) {
		go func() { panic("out of cheese") }()
		select {}
	})
	if len(os.Args) > 1 && os.Args[1] == "exit" {
		fmt.Fprintln(os.Stderr, "no configuration")
		os.Exit(4)
	}
	s := http.Server{Addr: ":" + os.Getenv("FUNCTIONS_CUSTOMHANDLER_PORT"), ReadHeaderTimeout: time.Minute}
	log.Fatal(s.ListenAndServe())
}

type event struct {
	ID   string
	Data string
}

func work(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Data     map[string]event
		Metadata struct {
			ID, Subject string
			Sys         struct{ MethodName, RandGuid string }
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	e, m := request.Data["order"], request.Metadata
	answers := map[string]string{
		"null":    `null`,
		"nothing": `{"Outputs":null,"Logs":null,"ReturnValue":null}`,
		"empty":   ``,
		"text":    `{"ReturnValue":"hello"}`,
		"json":    `{"ReturnValue":"{\"a\":1}"}`,
		"object":  `{"ReturnValue":{"b":[2]},"Outputs":{"q":1}}`,
		"outputs": `{"Outputs":{"res":{"body":"enqueued"}},"Logs":["one","two",3],"ReturnValue":null}`,
		"event":   `{"ReturnValue":{"specversion":"1.0","id":"1","source":"/s","type":"handler.type","data":7}}`,
		"bad":     `{"ReturnValue":{"specversion":"1.0","id":""}}`,
		"nojson":  `Hello`,
		"cut":     `{"ReturnValue":"hel`,
		"two":     `{"ReturnValue":1}{"ReturnValue":2}`,
		"array":   `[1]`,
		"logs":    `{"Logs":"one"}`,
		"huge":    `{"ReturnValue":"` + strings.Repeat("x", 2<<20) + `"}`,
		"deep":    `{"ReturnValue":` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `}`,
	}
	switch e.Data {
	case "refuse":
		http.Error(w, "not for me", http.StatusNotFound)
		return
	case "fail":
		http.Error(w, "it broke", http.StatusInternalServerError)
		return
	case "sleep":
		time.Sleep(time.Hour)
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	}
	if a, ok := answers[e.Data]; ok {
		_, _ = io.WriteString(w, a)
		return
	}
	if m.ID != e.ID || m.Sys.MethodName != "work" || m.Sys.RandGuid == "" || r.Header.Get("X-Azure-Functions-Invocationid") != m.Sys.RandGuid {
		http.Error(w, fmt.Sprintf("%+v", request), http.StatusInternalServerError)
		return
	}
	fmt.Println("a line on stdout")
	_ = json.NewEncoder(w).Encode(map[string]any{"ReturnValue": counted(m.Subject), "Logs": []string{"counted"}})
}

// web is a function with an HTTP trigger that is invoked: its response is an output.
func web(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Data struct {
			Req struct {
				URL     string `json:"Url"`
				Method  string
				Headers http.Header
				Body    string
			}
		}
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req := request.Data.Req
	res := map[string]any{"statusCode": "200", "status": "200", "headers": map[string]any{}, "body": ""}
	switch strings.Trim(req.Body, `"`) {
	case "teapot":
		res["statusCode"], res["body"] = 418, "short and stout"
	case "event":
		res["headers"] = map[string]any{"Ce-Specversion": "1.0", "ce-id": []string{"1"}, "Ce-Source": "/s", "Ce-Type": "handler.type", "content-type": "text/plain"}
		res["body"] = "an event"
	case "object":
		res["body"] = map[string]any{"a": 1}
	case "empty":
	case "status":
		res["statusCode"] = "fine"
	case "huge":
		res["body"] = strings.Repeat("x", 1<<20+1)
	default:
		res["body"] = counted(req.Headers.Get("Ce-Subject")) + " " + req.Method + " " + req.URL + " " + req.Body
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"Outputs": map[string]any{"res": res, "queue": "dropped"}})
}

// queue is a function with a trigger of a queue, whose return value goes to another one.
func queue(w http.ResponseWriter, r *http.Request) {
	var request struct{ Data struct{ Item string } }
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	dir, err := os.Getwd()
	if err != nil {
		log.Fatal(err)
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"ReturnValue": fmt.Sprint(counted(""), " ", request.Data.Item, " ", os.Args[1:], " in ", dir, " of ", os.Getenv("FUNCTIONS_APP_ROOT_PATH"))})
}

func forwarded(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if string(body) == `"teapot"` {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	_, _ = fmt.Fprintf(w, "%s %s %s %s", counted(r.Header.Get("Ce-Subject")), r.Method, r.Header.Get("Ce-Type"), body) //nolint:gosec // nothing of this is shown in a browser
}

// counted tells how many events this program has had.
func counted(subject string) string {
	count++
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
	return fmt.Sprintf("%d in memory, %d in /tmp, subject %s", count, st.Size(), subject)
}
