// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command server is an HTTP server that counts its requests, in memory and in /tmp,
// and does what the path or the data of the event says.
package main

import (
	"bufio"
	crand "crypto/rand"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
)

var (
	count, restored int
	connection      string     // that came with the restore
	chance          *rand.Rand // plain state in memory, as many generators are
)

// generation reads the number of this copy.
func generation() uint64 {
	b, err := os.ReadFile("/run/kontain/generation")
	if err != nil {
		log.Fatal(err)
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		log.Fatal(err)
	}
	return n
}

func main() {
	port := os.Getenv("PORT")
	if len(os.Args) > 1 {
		raw(os.Args[1], port)
		return
	}
	http.HandleFunc("/", serve)
	http.HandleFunc("/ready", func(w http.ResponseWriter, r *http.Request) {
		if count++; count < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		count = 0
	})
	http.HandleFunc("/restored", func(_ http.ResponseWriter, r *http.Request) {
		restored++
		connection = r.RemoteAddr
		chance = rand.New(rand.NewPCG(generation(), 0)) //nolint:gosec // a weak one is what is tested
	})
	http.HandleFunc("/restored/close", func(w http.ResponseWriter, r *http.Request) {
		connection = r.RemoteAddr
		w.Header().Set("Connection", "close")
	})
	http.HandleFunc("/refused", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusConflict) })
	http.HandleFunc("/connection", func(w http.ResponseWriter, r *http.Request) {
		what := "another"
		if r.RemoteAddr == connection {
			what = "same"
		}
		fmt.Fprint(w, what)
	})
	http.HandleFunc("/chance", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "generation-", generation(), " seeded-", chance.Uint64(), " ", crand.Text())
	})
	log.Fatal((&http.Server{Addr: ":" + port, ReadHeaderTimeout: time.Minute}).ListenAndServe())
}

func serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		log.Fatal(err)
	}
	count++
	f, err := os.OpenFile("/tmp/count", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprint(f, "x")
	st, err := f.Stat()
	if err != nil {
		log.Fatal(err)
	}
	if err := f.Close(); err != nil {
		log.Fatal(err)
	}
	what := strings.Trim(string(body), `"`)
	switch what {
	case "empty":
	case "accepted":
		w.WriteHeader(http.StatusAccepted)
	case "event":
		w.Header().Set("Ce-Specversion", "1.0")
		w.Header().Set("Ce-Id", "answer")
		w.Header().Set("Ce-Source", "/server")
		w.Header().Set("Ce-Type", "server.type")
		w.Header().Set("Content-Type", "text/plain")
		fmt.Fprint(w, "an event")
	case "structured":
		w.Header().Set("Content-Type", "application/cloudevents+json; charset=utf-8")
		fmt.Fprint(w, `{"specversion":"1.0","id":"answer","source":"/server","type":"server.type","data":{"a":1}}`)
	case "badevent":
		w.Header().Set("Ce-Specversion", "1.0")
	case "chunked":
		for range 100 {
			fmt.Fprint(w, strings.Repeat("y", 1000))
			w.(http.Flusher).Flush()
		}
	case "huge":
		for range 100 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
	case "headers":
		for i := range 20 {
			w.Header().Set(fmt.Sprint("X-", i), strings.Repeat("h", 64<<10))
		}
	case "early":
		w.WriteHeader(http.StatusEarlyHints)
		fmt.Fprint(w, "after hints")
	case "busy":
		w.Header().Set("Retry-After", "7")
		w.WriteHeader(http.StatusTooManyRequests)
	case "refuse":
		http.Error(w, "this is not for me", http.StatusNotFound)
	case "fail":
		http.Error(w, "it broke", http.StatusInternalServerError)
	case "redirect":
		http.Redirect(w, r, "/elsewhere", http.StatusFound)
	case "exit":
		fmt.Fprintln(os.Stderr, "last words")
		os.Exit(3)
	case "crash":
		panic(http.ErrAbortHandler)
	case "sleep":
		time.Sleep(time.Hour)
	case "length":
		fmt.Fprint(w, len(body))
	default:
		fmt.Fprintf(w, //nolint:gosec // nothing of this is shown in a browser
			`{"count":%d,"file":%d,"restored":%d,"method":%q,"path":%q,"type":%q,"content":%q,"id":%q,"subject":%q}`,
			count, st.Size(), restored, r.Method, r.URL.Path, r.Header.Get("Ce-Type"), r.Header.Get("Content-Type"), r.Header.Get("Ce-Id"), r.Header.Get("Ce-Subject"))
	}
}

// raw is a server that does not keep to HTTP, or to being one.
func raw(what, port string) {
	switch what {
	case "never":
		select {}
	case "exit":
		fmt.Fprintln(os.Stderr, "no configuration")
		os.Exit(4)
	case "late":
		time.Sleep(300 * time.Millisecond)
	case "two":
		l, err := net.Listen("tcp", "127.0.0.1:9999")
		if err != nil {
			log.Fatal(err)
		}
		go func() { log.Fatal((&http.Server{ReadHeaderTimeout: time.Minute}).Serve(l)) }()
	}
	l, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go talk(what, c)
	}
}

func talk(what string, c net.Conn) {
	defer func() { _ = c.Close() }()
	if what == "h2c" {
		(&http2.Server{}).ServeConn(c, &http2.ServeConnOpts{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				log.Fatal(err)
			}
			fmt.Fprint(w, "h2c by ", r.Proto) //nolint:gosec // nothing of this is shown in a browser
		})})
		return
	}
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	if what == "unread" {
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nunread")
		return
	}
	n, pieces, piece := 0, 0, make([]byte, 1000)
	for err == nil {
		var k int
		k, err = r.Body.Read(piece)
		n += k
		pieces++
	}
	if err != io.EOF { //nolint:errorlint // as io.Reader has it
		return
	}
	switch what {
	case "stream":
		if pieces < 100 {
			return
		}
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for _, part := range []string{fmt.Sprint(n), " bytes", " in many", " pieces"} {
			fmt.Fprintf(c, "%x\r\n%s\r\n", len(part), part)
			time.Sleep(time.Millisecond) // so that it is one piece
		}
		fmt.Fprint(c, "0\r\n\r\n")
	case "long":
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlonger than that\r\n")
	case "continue":
		fmt.Fprint(c, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ncontinue")
	case "upgrade":
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
	case "until-close":
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n\r\nuntil-close")
	case "trailers":
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nTrailer: X-End\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ntrailers\r\n0\r\nX-End: 1\r\n\r\n")
	case "slow":
		for _, b := range []byte("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow") {
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	case "nonsense":
		fmt.Fprint(c, "hello\r\n\r\n")
	case "short":
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
	case "twice":
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab")
	case "endless":
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(c, "HTTP/1.1 100 Continue\r\nX-%d: y\r\n\r\n", i); err != nil {
				return
			}
		}
	case "endless-headers":
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\n")
		for {
			if _, err := fmt.Fprint(c, strings.Repeat("X-Header: y\r\n", 5000)); err != nil {
				return
			}
		}
	case "close":
	case "old":
		fmt.Fprint(c, "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold")
	default:
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(what), what)
	}
}
