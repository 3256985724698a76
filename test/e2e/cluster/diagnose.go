// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// What is shown of a log: whoever reads it may have nothing else of the machine.
const (
	diagnosedTail   = 64 << 10 // bytes at its end that are looked at
	diagnosedOurs   = 30       // last lines of our own programs and of the node
	diagnosedOthers = 5        // last lines of others that tell of a failure
	diagnosedLine   = 400      // bytes of a line
)

// failureLine is how klog, zap, etcd and Go's runtime begin to tell of a failure.
var failureLine = regexp.MustCompile(`^[EF]\d{4} |"(level|severity)":"(?i:error|dpanic|panic|fatal)"|^panic: |^fatal error: `)

// Diagnose writes what helps to understand a failure: pods that are not ready, and of
// each program's log the last lines that matter.
func (c *Cluster) Diagnose(w io.Writer) {
	if err := errors.Join(c.diagnosePods(w), c.diagnoseLogs(w)); err != nil {
		fmt.Fprintln(w, "cluster: this is not all there is to say:", err)
	}
}

func (c *Cluster) diagnosePods(w io.Writer) error {
	if c.Kube == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	pods, err := c.Kube.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, p := range pods.Items {
		ready := slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
		})
		restarts := int32(0)
		for _, s := range p.Status.ContainerStatuses {
			restarts += s.RestartCount
			if s.State.Waiting != nil {
				fmt.Fprintf(w, "cluster: pod %s/%s waits: %s: %s\n", p.Namespace, p.Name, s.State.Waiting.Reason, s.State.Waiting.Message)
			}
		}
		if !ready || restarts > 0 {
			fmt.Fprintf(w, "cluster: pod %s/%s: phase %s, ready %v, %d restarts\n", p.Namespace, p.Name, p.Status.Phase, ready, restarts)
		}
	}
	return nil
}

func (c *Cluster) diagnoseLogs(w io.Writer) error {
	logs, err := filepath.Glob(filepath.Join(c.Dir, "logs", "*.log"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range logs {
		lines, err := tail(file)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name, most := filepath.Base(file), diagnosedOurs
		if !strings.Contains(name, "kontain") && name != "node.log" {
			most = diagnosedOthers
			lines = slices.DeleteFunc(lines, func(line []byte) bool { return !failureLine.Match(line) })
		}
		lines = lines[max(0, len(lines)-most):]
		if len(lines) == 0 {
			continue
		}
		fmt.Fprintf(w, "cluster: the end of logs/%s:\n", name)
		for _, line := range lines {
			fmt.Fprintf(w, "  %s\n", line[:min(len(line), diagnosedLine)])
		}
	}
	return errors.Join(errs...)
}

// tail returns the last lines of a file, the first of which may be cut.
func tail(file string) (lines [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if _, err := f.Seek(max(0, info.Size()-diagnosedTail), io.SeekStart); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, diagnosedTail))
	if err != nil {
		return nil, err
	}
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, nil
	}
	return bytes.Split(data, []byte("\n")), nil
}
