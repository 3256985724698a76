// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package dispatcher

import (
	"context"
	"net/http"

	"kontain.dev/eventing/pkg/contract"
	"kontain.dev/eventing/pkg/event"
	"kontain.dev/eventing/pkg/reply"
	"kontain.dev/eventing/vmexec"
	"kontain.dev/eventing/vmexec/talk"
)

// conversation is what is said to a program about one event. Without a talker it is
// none.
type conversation struct {
	talker contract.Talker
	event  *event.Event

	answer reply.Outcome
	err    error // there was no answer
}

// hold talks with the program. A machine that was lost before its program began may
// have it called again.
func (c *conversation) hold(ctx context.Context, s *talk.Side) {
	c.answer, c.err = reply.Outcome{}, nil
	if s.Started() {
		if c.err = c.talker.Ready(ctx, s); c.err != nil {
			return
		}
	}
	c.answer, c.err = c.talker.Talk(ctx, s, c.event)
}

// outcome returns what the program answered. What became of it afterwards does not
// count. When it did not answer, and ended by itself or by a limit, that tells more.
func (c *conversation) outcome(r *vmexec.Result) (answered bool, o reply.Outcome) {
	switch {
	case c.talker == nil:
		return false, o
	case c.err == nil:
		return true, c.answer
	case r.Reason != vmexec.Answered:
		return false, o
	}
	f := reply.Failf(http.StatusBadGateway, reply.BadReply, "%v", c.err)
	contract.AddStderr(f, r)
	return true, reply.Fail(f)
}
