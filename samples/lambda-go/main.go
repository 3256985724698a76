// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command lambda-go is an ordinary AWS Lambda function: nothing in it knows of Kontain
// Eventing. It answers an order with its sum.
package main

import (
	"context"
	"errors"
	"log"

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
}

func handle(ctx context.Context, o order) (*invoice, error) {
	if c, ok := lambdacontext.FromContext(ctx); ok {
		log.Printf("request %s: order %s", c.AwsRequestID, o.ID)
	}
	if len(o.Data.Items) == 0 {
		return nil, errors.New("an order without items")
	}
	answer := &invoice{Order: o.ID}
	for _, i := range o.Data.Items {
		answer.Sum += i.Price * float64(i.Count)
	}
	return answer, nil
}

func main() { lambda.Start(handle) }
