// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package guests

import (
	"syscall"

	"kontain.dev/eventing/test/guests/build"
)

var _ = family("socket",
	guest{name: "go_net_http", source: "net_http", flavour: build.Go},
	guest{name: "go_net_sockets", source: "net_sockets", flavour: build.Go},
	guest{name: "socket_backlog_inet", source: "socket_backlog", args: []string{"inet"}},
	guest{name: "socket_backlog_unix", source: "socket_backlog", args: []string{"unix"}},
	guest{name: "socket_bind"},
	guest{name: "socket_connect_inet", source: "socket_connect", args: []string{"inet"}},
	guest{name: "socket_connect_inet6", source: "socket_connect", args: []string{"inet6"}},
	guest{name: "socket_datagram_abstract", source: "socket_datagram", args: []string{"abstract"}},
	guest{name: "socket_datagram_inet", source: "socket_datagram", args: []string{"inet"}},
	guest{name: "socket_datagram_inet6", source: "socket_datagram", args: []string{"inet6"}},
	guest{name: "socket_datagram_unix", source: "socket_datagram", args: []string{"unix"}},
	guest{name: "socket_echo_abstract", source: "socket_echo", args: []string{"abstract", "stream"}},
	guest{name: "socket_echo_inet", source: "socket_echo", args: []string{"inet", "stream"}},
	guest{name: "socket_echo_inet6", source: "socket_echo", args: []string{"inet6", "stream"}},
	guest{name: "socket_echo_mapped", source: "socket_echo", args: []string{"mapped", "stream"}},
	guest{name: "socket_echo_musl", source: "socket_echo", flavour: build.Musl, args: []string{"inet", "stream"}},
	guest{name: "socket_echo_seqpacket", source: "socket_echo", args: []string{"unix", "seqpacket"}},
	guest{name: "socket_echo_unix", source: "socket_echo", args: []string{"unix", "stream"}},
	guest{name: "socket_errors"},
	guest{name: "socket_frozen", stdin: []byte("an event"), waits: true},
	guest{name: "socket_half_inet", source: "socket_half", args: []string{"inet"}, signal: syscall.SIGPIPE},
	guest{name: "socket_half_inet6", source: "socket_half", args: []string{"inet6"}, signal: syscall.SIGPIPE},
	guest{name: "socket_half_pair", source: "socket_half", args: []string{"pair"}, signal: syscall.SIGPIPE},
	guest{name: "socket_half_unix", source: "socket_half", args: []string{"unix"}, signal: syscall.SIGPIPE},
	guest{name: "socket_header"},
	guest{name: "socket_interfaces"},
	guest{name: "socket_options"},
	guest{name: "socket_peek_inet", source: "socket_peek", args: []string{"inet"}},
	guest{name: "socket_peek_unix", source: "socket_peek", args: []string{"pair"}},
	guest{name: "socket_processes"},
	guest{name: "socket_resolve_musl", source: "socket_resolve", flavour: build.Musl},
	guest{name: "socket_rights_dgram", source: "socket_rights", args: []string{"dgram"}},
	guest{name: "socket_rights_seqpacket", source: "socket_rights", args: []string{"seqpacket"}},
	guest{name: "socket_rights_stream", source: "socket_rights", args: []string{"stream"}},
	guest{name: "socket_seqpacket_abstract", source: "socket_seqpacket", args: []string{"abstract"}},
	guest{name: "socket_seqpacket_pair", source: "socket_seqpacket", args: []string{"pair"}},
	guest{name: "socket_wait"},
)
