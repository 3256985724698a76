// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

// Back-off between starts of a program that ends.
const (
	firstBackOff = 200 * time.Millisecond
	maxBackOff   = 10 * time.Second
)

// pod is one pod of the node; one goroutine runs it.
type pod struct {
	node   *Node
	object *corev1.Pod

	stopping chan struct{} // closed when the pod is deleted
	grace    time.Duration // set before stopping is closed
	once     sync.Once

	mu      sync.Mutex
	process *os.Process // nil while nothing runs

	// Used by the pod's goroutine only.
	network  *sandbox.Network
	started  metav1.Time
	restarts int32
	last     corev1.ContainerState
}

func newPod(n *Node, p *corev1.Pod) *pod {
	return &pod{node: n, object: p, stopping: make(chan struct{})}
}

// stop ends the pod with SIGTERM, and with SIGKILL after the grace period.
func (p *pod) stop(seconds *int64) {
	p.once.Do(func() {
		p.grace = 30 * time.Second
		if seconds != nil {
			p.grace = time.Duration(*seconds) * time.Second
		}
		close(p.stopping)
	})
}

func (p *pod) kill() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.process == nil {
		return fmt.Errorf("the program of pod %s/%s does not run", p.object.Namespace, p.object.Name)
	}
	return p.process.Kill()
}

func (p *pod) logf(format string, args ...any) {
	p.node.log.Printf("%s/%s: %s", p.object.Namespace, p.object.Name, fmt.Sprintf(format, args...))
}

// run runs the pod's program until it has ended for good.
func (p *pod) run() {
	defer p.end()
	if len(p.object.Spec.Containers) != 1 || len(p.object.Spec.InitContainers) != 0 {
		p.fail("Unsupported", "this node runs pods of one container, without init containers")
		return
	}
	network, err := sandbox.NewNetwork()
	if err != nil {
		p.fail("NoNetwork", err.Error())
		return
	}
	p.network = network
	backOff := firstBackOff
	for {
		container, reason, err := p.container()
		var code int
		if err == nil {
			reason = "StartError"
			began := time.Now()
			code, err = p.runOnce(container)
			if time.Since(began) > maxBackOff {
				backOff = firstBackOff
			}
		}
		select {
		case <-p.stopping:
			return
		case <-p.node.ctx.Done():
			return
		default:
		}
		switch policy := p.object.Spec.RestartPolicy; {
		case err != nil:
			p.logf("%s: %v", reason, err)
			p.waiting(reason, err.Error())
		case policy == corev1.RestartPolicyAlways, policy == corev1.RestartPolicyOnFailure && code != 0:
			p.logf("ended with exit code %d: see %s; started again after %v", code, p.logFile(), backOff)
			p.last = corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: int32(code), Reason: "Error"}}
			p.restarts++
			p.waiting("CrashLoopBackOff", fmt.Sprintf("exit code %d", code))
		case code == 0:
			p.phase(corev1.PodSucceeded, "Completed", "", code)
			return
		default:
			p.phase(corev1.PodFailed, "Error", "", code)
			return
		}
		select {
		case <-time.After(backOff):
		case <-p.stopping:
			return
		case <-p.node.ctx.Done():
			return
		}
		backOff = min(2*backOff, maxBackOff)
	}
}

// end gives back what the pod has, and says so when it was deleted.
func (p *pod) end() {
	if p.network != nil {
		_ = p.network.Close()
	}
	select {
	case <-p.stopping:
		p.node.remove(p.object)
	default:
	}
	p.node.mu.Lock()
	defer p.node.mu.Unlock()
	delete(p.node.pods, p.object.UID)
}

func (p *pod) logFile() string {
	return filepath.Join(p.node.Logs(), p.object.Namespace+"_"+p.object.Name+".log")
}

// runOnce runs the container once and returns its exit code.
func (p *pod) runOnce(container sandbox.Container) (int, error) {
	if err := os.MkdirAll(p.node.Logs(), 0o755); err != nil { //nolint:gosec // For a person.
		return 0, err
	}
	output, err := os.OpenFile(p.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) //nolint:gosec // For a person.
	if err != nil {
		return 0, err
	}
	defer output.Close() //nolint:errcheck // Only the child writes.
	cmd, err := container.Start(p.network, output)
	if err != nil {
		return 0, err
	}
	p.setProcess(cmd.Process)
	defer p.setProcess(nil)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(p.node.ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { p.signal(cmd, ended) })
	wg.Go(func() { p.report(ctx) })
	wg.Go(func() { p.renew(ctx) })
	err = cmd.Wait()
	cancel()
	close(ended)
	wg.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, nil
	case !errors.As(err, &exit):
		return 0, err
	case exit.Exited():
		return exit.ExitCode(), nil
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok {
		return 128 + int(status.Signal()), nil
	}
	return 255, nil
}

func (p *pod) setProcess(process *os.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.process = process
}

// signal ends the program when the pod is deleted or the node ends.
func (p *pod) signal(cmd *exec.Cmd, ended <-chan struct{}) {
	grace := time.Second // of the node's end: nobody waits for answers
	select {
	case <-ended:
		return
	case <-p.node.ctx.Done():
	case <-p.stopping:
		grace = p.grace
		// A Service must learn of the end before the program does: what a preStop hook that sleeps is for.
		if l := p.object.Spec.Containers[0].Lifecycle; l != nil && l.PreStop != nil && l.PreStop.Sleep != nil {
			select {
			case <-time.After(min(grace, time.Duration(l.PreStop.Sleep.Seconds)*time.Second)):
			case <-ended:
				return
			}
		}
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // It may have ended.
	select {
	case <-ended:
	case <-time.After(grace):
		_ = cmd.Process.Kill() // It may have ended.
	}
}

// report tells the API that the program runs, and whether it is ready.
func (p *pod) report(ctx context.Context) {
	now := metav1.Now()
	if p.started.IsZero() {
		p.started = now
	}
	probe := p.object.Spec.Containers[0].ReadinessProbe
	ready := probe == nil
	p.status(corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}, ready)
	if probe == nil {
		return
	}
	failed := int32(0)
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := p.probe(ctx, probe)
		if ctx.Err() != nil {
			return
		}
		was := ready
		if err == nil {
			ready, failed = true, 0
			ticker.Reset(time.Duration(max(probe.PeriodSeconds, 1)) * time.Second)
		} else if failed++; failed >= max(probe.FailureThreshold, 1) {
			ready = false
			ticker.Reset(200 * time.Millisecond)
		}
		if ready != was {
			p.logf("ready: %v (%v)", ready, err)
			p.status(corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}, ready)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (p *pod) waiting(reason, message string) {
	phase := corev1.PodPending
	if p.restarts > 0 {
		phase = corev1.PodRunning
	}
	p.status(phase, corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}, false)
}

func (p *pod) fail(reason, message string) {
	p.logf("%s: %s", reason, message)
	p.phase(corev1.PodFailed, reason, message, 255)
	select {
	case <-p.stopping:
	case <-p.node.ctx.Done():
	}
}

func (p *pod) phase(phase corev1.PodPhase, reason, message string, code int) {
	p.status(phase, corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: int32(code), Reason: reason, Message: message,
	}}, false)
}

// status writes the pod's status.
func (p *pod) status(phase corev1.PodPhase, state corev1.ContainerState, ready bool) {
	condition := corev1.ConditionFalse
	if ready {
		condition = corev1.ConditionTrue
	}
	now := metav1.Now()
	status := corev1.PodStatus{Phase: phase, HostIP: sandbox.Gateway, StartTime: &p.started}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		c := corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now}
		if t == corev1.ContainersReady || t == corev1.PodReady {
			c.Status = condition
		}
		status.Conditions = append(status.Conditions, c)
	}
	if p.network != nil {
		status.PodIP, status.PodIPs = p.network.IP, []corev1.PodIP{{IP: p.network.IP}}
	}
	for _, c := range p.object.Spec.Containers {
		status.ContainerStatuses = append(status.ContainerStatuses, corev1.ContainerStatus{
			Name: c.Name, Image: c.Image, Ready: ready, RestartCount: p.restarts, State: state, LastTerminationState: p.last,
		})
	}
	data, err := json.Marshal(map[string]any{"status": status, "metadata": map[string]any{"uid": p.object.UID}})
	if err != nil {
		p.logf("status: %v", err)
		return
	}
	_, err = p.node.client.CoreV1().Pods(p.object.Namespace).Patch(p.node.ctx, p.object.Name, types.MergePatchType, data, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) && p.node.ctx.Err() == nil {
		p.logf("status: %v", err)
	}
}
