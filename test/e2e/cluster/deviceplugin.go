// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	deviceplugin "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"kontain.dev/eventing/test/e2e/cluster/node"
)

// kvmShares is how many containers may have /dev/kvm at once; the kernel sets no limit.
const kvmShares = 100

// OfferKVM offers the node's /dev/kvm to its kubelet as device plugins do, until the context
// ends, and waits until pods can ask for it.
func (c *Cluster) OfferKVM(ctx context.Context) error {
	const socket = "kontain-kvm.sock"
	l, err := net.Listen("unix", filepath.Join(deviceplugin.DevicePluginPath, socket))
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	deviceplugin.RegisterDevicePluginServer(server, kvmPlugin{})
	context.AfterFunc(ctx, server.Stop)
	go func() { _ = server.Serve(l) }() // Until it is stopped.
	conn, err := grpc.NewClient("unix://"+deviceplugin.KubeletSocket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // It has said all.
	err = Eventually(ctx, Patience, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_, err := deviceplugin.NewRegistrationClient(conn).Register(ctx, &deviceplugin.RegisterRequest{
			Version: deviceplugin.Version, Endpoint: socket, ResourceName: node.KVMResource,
		})
		return err
	})
	if err != nil {
		return fmt.Errorf("registering a device plugin: %w", err)
	}
	return Eventually(ctx, Patience, func(ctx context.Context) error {
		n, err := c.Kube.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if q := n.Status.Allocatable[corev1.ResourceName(node.KVMResource)]; q.Value() != kvmShares {
			return fmt.Errorf("the node offers %v of %s", q.Value(), node.KVMResource)
		}
		return nil
	})
}

type kvmPlugin struct {
	deviceplugin.UnimplementedDevicePluginServer
}

// GetDevicePluginOptions implements deviceplugin.DevicePluginServer.
func (kvmPlugin) GetDevicePluginOptions(context.Context, *deviceplugin.Empty) (*deviceplugin.DevicePluginOptions, error) {
	return &deviceplugin.DevicePluginOptions{}, nil
}

// ListAndWatch implements deviceplugin.DevicePluginServer.
func (kvmPlugin) ListAndWatch(_ *deviceplugin.Empty, stream grpc.ServerStreamingServer[deviceplugin.ListAndWatchResponse]) error {
	all := make([]*deviceplugin.Device, kvmShares)
	for i := range all {
		all[i] = &deviceplugin.Device{ID: fmt.Sprint(i), Health: deviceplugin.Healthy}
	}
	if err := stream.Send(&deviceplugin.ListAndWatchResponse{Devices: all}); err != nil {
		return err
	}
	<-stream.Context().Done() // They stay as they are.
	return nil
}

// Allocate implements deviceplugin.DevicePluginServer.
func (kvmPlugin) Allocate(_ context.Context, r *deviceplugin.AllocateRequest) (*deviceplugin.AllocateResponse, error) {
	answer := &deviceplugin.AllocateResponse{}
	for range r.GetContainerRequests() {
		answer.ContainerResponses = append(answer.ContainerResponses, &deviceplugin.ContainerAllocateResponse{
			Devices: []*deviceplugin.DeviceSpec{{ContainerPath: "/dev/kvm", HostPath: "/dev/kvm", Permissions: "rw"}},
		})
	}
	return answer, nil
}
