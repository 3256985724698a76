// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command kontain-cluster starts a Kubernetes with Knative Eventing and this
// project's programs as processes, and leaves them up until it is interrupted
// (make e2e-up). It is run in the folder of its module.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"kontain.dev/eventing/test/e2e/cluster"
	"kontain.dev/eventing/test/e2e/cluster/sandbox"
	"kontain.dev/eventing/test/e2e/cluster/service"
)

func main() {
	cluster.Run(func(c *cluster.Cluster) int {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		if err := up(ctx, c); err != nil {
			fmt.Fprintln(os.Stderr, "kontain-cluster:", err)
			return 1
		}
		return 0
	})
}

// up opens the ways in, says where they are, and waits for the end.
func up(ctx context.Context, c *cluster.Cluster) error {
	switch err := c.Install(ctx); {
	case errors.Is(err, cluster.ErrNotInstallable):
		fmt.Fprintln(os.Stderr, "kontain-cluster: Knative Eventing alone:", err)
	case ctx.Err() != nil:
		return nil
	case err != nil:
		// Whoever works on the manifests wants to look at what came up.
		fmt.Fprintln(os.Stderr, "kontain-cluster: installing config/:", err)
	}
	api, err := forward(ctx, c.APIServer())
	if err != nil {
		return err
	}
	config, err := clientcmd.LoadFromFile(c.Kubeconfig())
	if err != nil {
		return err
	}
	for _, one := range config.Clusters {
		one.Server = "https://" + api
	}
	file := filepath.Join(c.Dir, "kubeconfig.outside")
	if err := clientcmd.WriteToFile(*config, file); err != nil {
		return err
	}
	ingress, err := c.Kube.CoreV1().Services(cluster.System).Get(ctx, "broker-ingress", metav1.GetOptions{})
	if err != nil {
		return err
	}
	broker, err := forward(ctx, net.JoinHostPort(ingress.Spec.ClusterIP, "80"))
	if err != nil {
		return err
	}
	fmt.Printf(`
The cluster is up until Ctrl-C.

  export KUBECONFIG=%s
  %s get pods -A

  brokers:   http://%s/<namespace>/<broker>
  registry:  %s (in the cluster)
  logs:      %s
`, file, c.Kubectl(), broker, c.Registry(), c.Node.Logs())
	<-ctx.Done()
	return nil
}

// forward listens on the machine's loopback and passes connections on to an
// address in the sandbox.
func forward(ctx context.Context, address string) (string, error) {
	l, err := sandbox.ListenOutside("127.0.0.1:0")
	if err != nil {
		return "", err
	}
	context.AfterFunc(ctx, func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			go func() {
				defer conn.Close() //nolint:errcheck // Whatever was to be sent is sent.
				_ = service.Forward(conn.(*net.TCPConn), address)
			}()
		}
	}()
	return l.Addr().String(), nil
}
