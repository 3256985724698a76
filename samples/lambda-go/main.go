// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command lambda-go is an ordinary AWS Lambda function: nothing in it knows of Kontain
// Eventing. It answers an order with its sum, and counts its events in memory and in a file.
package main

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-lambda-go/lambdacontext"
)

// order is the part of the CloudEvent that counts here.
type order struct {
	ID   string `json:"id"`
	Data struct {
		Items []struct {
			Price float64 `json:"price"`
			Count int     `json:"count"`
		} `json:"items"`
	} `json:"data"`
}

type invoice struct {
	Order string  `json:"order"`
	Sum   float64 `json:"sum"`
	// Event and InFile say how many events this function has had.
	Event  int   `json:"event"`
	InFile int64 `json:"in_file"`
}

var events int

func handle(ctx context.Context, o order) (*invoice, error) {
	if c, ok := lambdacontext.FromContext(ctx); ok {
		log.Printf("request %s: order %s", c.AwsRequestID, o.ID)
	}
	if len(o.Data.Items) == 0 {
		return nil, errors.New("an order without items")
	}
	inFile, err := countInFile()
	if err != nil {
		return nil, err
	}
	events++
	answer := &invoice{Order: o.ID, Event: events, InFile: inFile}
	for _, i := range o.Data.Items {
		answer.Sum += i.Price * float64(i.Count)
	}
	return answer, nil
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

func main() { lambda.Start(handle) }
