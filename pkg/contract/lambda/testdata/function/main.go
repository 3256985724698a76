// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command function is an AWS Lambda function that counts its events, in memory and in
// /tmp, and does what the data of the event says.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

var count int

type event struct {
	ID   string `json:"id"`
	Data string `json:"data"`
}

func handle(ctx context.Context, e event) (any, error) {
	count++
	f, err := os.OpenFile("/tmp/count", os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprint(f, "x"); err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	switch e.Data {
	case "null":
		return nil, nil
	case "error":
		return nil, errors.New("it broke")
	case "panic":
		panic("it panicked")
	case "exit":
		os.Exit(3)
	case "deadline":
		<-ctx.Done()
		return nil, ctx.Err()
	case "sleep":
		time.Sleep(time.Hour)
	case "large":
		return strings.Repeat("x", 1200<<10), nil
	}
	deadline, _ := ctx.Deadline()
	lc, _ := lambdacontext.FromContext(ctx)
	return map[string]any{
		"count": count, "file": st.Size(), "id": e.ID, "left": time.Until(deadline) > 0 && time.Until(deadline) < time.Minute,
		"request": len(lc.AwsRequestID), "arn": lc.InvokedFunctionArn, "name": lambdacontext.FunctionName, "trace": os.Getenv("_X_AMZN_TRACE_ID") != "",
	}, nil
}

func main() {
	if len(os.Args) > 1 {
		raw(os.Args[1])
		return
	}
	lambda.Start(handle)
}
