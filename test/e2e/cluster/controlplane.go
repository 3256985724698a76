// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

//go:build linux

package cluster

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"kontain.dev/eventing/test/e2e/cluster/sandbox"
)

const apiServer = sandbox.Gateway + ":6443"

// APIServer is the address, host:port, of kube-apiserver in the sandbox.
func (c *Cluster) APIServer() string { return apiServer }

// Kubeconfig is the file with which a person is the administrator.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Dir, "kubeconfig") }

// controlPlane starts etcd, kube-apiserver and kube-controller-manager, and
// sets the administrator's Config.
func (c *Cluster) controlPlane(ctx context.Context) error {
	pki := filepath.Join(c.Dir, "pki")
	if err := os.MkdirAll(pki, 0o700); err != nil {
		return err
	}
	key, err := serviceAccountKey(pki)
	if err != nil {
		return fmt.Errorf("key of service accounts: %w", err)
	}
	token := make([]byte, 16)
	if _, err := rand.Read(token); err != nil {
		return err
	}
	admin := hex.EncodeToString(token)
	tokens := filepath.Join(pki, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(admin+",admin,admin,system:masters\n"), 0o600); err != nil {
		return err
	}
	policy := filepath.Join(pki, "audit.yaml")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return err
	}
	const etcd, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
	_, err = c.daemon("etcd", "--data-dir="+filepath.Join(c.Dir, "etcd"), "--unsafe-no-fsync", "--log-level=warn",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer)
	if err != nil {
		return err
	}
	api, err := c.daemon("kube-apiserver", "--etcd-servers="+etcd,
		"--bind-address=0.0.0.0", "--advertise-address="+sandbox.Gateway, "--secure-port=6443", "--cert-dir="+pki,
		"--service-cluster-ip-range="+sandbox.Services, "--allow-privileged=true",
		"--authorization-mode=RBAC", "--token-auth-file="+tokens,
		"--kubelet-preferred-address-types=InternalIP", // of a node that no name server knows
		"--audit-policy-file="+policy, "--audit-log-path="+c.auditLog(),
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+key, "--service-account-signing-key-file="+key,
		// Nothing here is as big as what these limits protect.
		"--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000")
	if err != nil {
		return err
	}
	c.Config = &rest.Config{
		Host: "https://" + apiServer, BearerToken: admin, QPS: 500, Burst: 1000,
		TLSClientConfig: rest.TLSClientConfig{CAFile: filepath.Join(pki, "apiserver.crt")},
	}
	err = Eventually(ctx, Patience, func(ctx context.Context) error {
		if err := api.ended(); err != nil {
			return err
		}
		client, err := kubernetes.NewForConfig(c.Config)
		if err != nil {
			return err
		}
		return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
	if err != nil {
		return fmt.Errorf("kube-apiserver is not ready: %w: see logs/kube-apiserver.log", err)
	}
	if err := c.writeKubeconfig(admin); err != nil {
		return err
	}
	// Those that act on what is used here; there are no volumes, nodes or quotas.
	controllers := "clusterrole-aggregation-controller,deployment-controller,endpointslice-controller," +
		"garbage-collector-controller,namespace-controller,replicaset-controller," +
		"root-ca-certificate-publisher-controller,serviceaccount-controller"
	if c.kind == sandbox.Kubelet {
		controllers = "*"
	}
	_, err = c.daemon("kube-controller-manager", "--kubeconfig="+c.Kubeconfig(), "--leader-elect=false",
		"--bind-address=127.0.0.1", "--cert-dir="+filepath.Join(pki, "controller-manager"),
		"--service-account-private-key-file="+key, "--root-ca-file="+filepath.Join(pki, "apiserver.crt"),
		"--kube-api-qps=200", "--kube-api-burst=400", "--controllers="+controllers)
	return err
}

// serviceAccountKey writes the key that signs the tokens of service accounts.
func serviceAccountKey(dir string) (string, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "service-accounts.key")
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return file, os.WriteFile(file, pem.EncodeToMemory(block), 0o600)
}

func (c *Cluster) writeKubeconfig(token string) error {
	ca, err := os.ReadFile(c.Config.CAFile)
	if err != nil {
		return err
	}
	const name = "kontain-cluster"
	return clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{name: {
			Server: c.Config.Host, CertificateAuthorityData: ca, TLSServerName: "kubernetes.default.svc",
		}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{name: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: name}},
		CurrentContext: name,
	}, c.Kubeconfig())
}
