// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/authn/kubernetes"
	corev1 "k8s.io/api/core/v1"
)

// Bounds of pull secrets: the API server takes none that is larger.
const (
	maxPullSecrets      = 100
	maxPullSecretsBytes = 1 << 20
)

// PullSecrets is a folder with a folder for each of a sink's imagePullSecrets, which the
// kubelet fills with the Secret. It is an authn.Keychain, and a folder that is absent is
// an empty one.
type PullSecrets string

// read returns the Secrets, as they are now: the kubelet renews them.
func (dir PullSecrets) read() ([]corev1.Secret, error) {
	entries, err := os.ReadDir(string(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read pull secrets: %w", err)
	}
	if len(entries) > maxPullSecrets {
		return nil, fmt.Errorf("read pull secrets: %s has %d, more than %d", dir, len(entries), maxPullSecrets)
	}
	var secrets []corev1.Secret
	for _, e := range entries {
		data, err := readSecret(filepath.Join(string(dir), e.Name(), corev1.DockerConfigJsonKey))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a Secret that does not exist yet
		}
		if err != nil {
			return nil, fmt.Errorf("read pull secrets: %w", err)
		}
		secret := corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: data}}
		secret.Name = e.Name()
		secrets = append(secrets, secret)
	}
	return secrets, nil
}

func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // Nothing was written.
	data, err := io.ReadAll(io.LimitReader(f, maxPullSecretsBytes+1))
	if err == nil && len(data) > maxPullSecretsBytes {
		err = fmt.Errorf("%s has more than %d bytes", path, maxPullSecretsBytes)
	}
	return data, err
}

// Resolve returns the credentials for a registry or repository.
func (dir PullSecrets) Resolve(target authn.Resource) (authn.Authenticator, error) {
	secrets, err := dir.read()
	if err != nil || len(secrets) == 0 {
		return authn.Anonymous, err
	}
	keychain, err := kubernetes.NewFromPullSecrets(context.Background(), secrets)
	if err != nil {
		return nil, fmt.Errorf("read pull secrets: %w", err)
	}
	return keychain.Resolve(target)
}

// Missing returns which Secrets of these names are not there, or have not the key with
// credentials.
func (dir PullSecrets) Missing(names []string) []string {
	var missing []string
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(string(dir), name, corev1.DockerConfigJsonKey)); errors.Is(err, fs.ErrNotExist) {
			missing = append(missing, name)
		}
	}
	return missing
}

// Watch calls changed when the Secrets are others than before, which it looks for at each
// interval until ctx is done.
func (dir PullSecrets) Watch(ctx context.Context, interval time.Duration, changed func()) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for last := dir.Scope(""); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := dir.Scope(""); now != last {
			last = now
			changed()
		}
	}
}

// Scope returns who asks for the images of a namespace with these credentials: what other
// ones opened is fetched anew.
func (dir PullSecrets) Scope(namespace string) string {
	secrets, err := dir.read()
	if err != nil || len(secrets) == 0 {
		return namespace // without them every private image is refused
	}
	h := sha256.New()
	for _, s := range secrets {
		data := s.Data[corev1.DockerConfigJsonKey]
		fmt.Fprintf(h, "%d:%s%d:%s", len(s.Name), s.Name, len(data), data)
	}
	return namespace + "/" + hex.EncodeToString(h.Sum(nil))
}
