// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command receiver takes the events of the KontainSinks of a Kubernetes cluster: of all
// that share it or, with the variable KONTAIN_SINK, of one alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	// The container has no certificates of its own; registries are asked over HTTPS.
	_ "golang.org/x/crypto/x509roots/fallback"

	"github.com/google/go-containerregistry/pkg/authn"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corev1listers "k8s.io/client-go/listers/core/v1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/eventing/pkg/client/injection/informers/eventing/v1alpha1/eventpolicy"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/eventing/pkg/utils"
	kubeclient "knative.dev/pkg/client/injection/kube/client"
	"knative.dev/pkg/configmap"
	"knative.dev/pkg/configmap/informer"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/signals"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/client/injection/informers/sinks/v1alpha1/kontainsink"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/receiver"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/server/cluster"
	"kontain.dev/eventing/pkg/sinkstatus"
	"kontain.dev/eventing/vmexec"
)

const component = "kontain-receiver"

// issuerInterval is the time between attempts to learn who issues tokens.
const issuerInterval = 5 * time.Second

// secretsInterval is the time between looks at pull secrets, which the kubelet renews.
const secretsInterval = 5 * time.Second

func main() {
	if err := run(signals.NewContext()); err != nil {
		fmt.Fprintln(os.Stderr, component+":", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var f flags
	f.add(flag.CommandLine)
	rest := injection.ParseAndGetRESTConfigOrDie()
	if err := f.check(); err != nil {
		return err
	}
	only, err := onlySink()
	if err != nil {
		return err
	}
	dedicated := only.Name != ""
	ctx = injection.WithConfig(ctx, rest)
	if dedicated {
		ctx = injection.WithNamespaceScope(ctx, only.Namespace)
	}
	ctx, shared := injection.Default.SetupInformers(ctx, rest)
	kube := kubeclient.Get(ctx)

	configs, logConfig, err := watchConfigs(ctx, kube, dedicated)
	if err != nil {
		return err
	}
	sugared, level := logging.NewLoggerFromConfig(logConfig, component)
	defer sugared.Sync() //nolint:errcheck // It is stderr, which cannot be synced.
	ctx = logging.WithLogger(ctx, sugared)
	log := slog.New(zapslog.NewHandler(sugared.Desugar().Core()))
	configs.Watch(logging.ConfigMapName(), logging.UpdateLevelFromConfigMap(sugared, level, component))

	observed, err := observabilityConfig(ctx, kube, configs, dedicated)
	if err != nil {
		return err
	}
	to, err := newTelemetry(ctx, observed)
	if err != nil {
		return err
	}
	defer func() {
		if err := to.close(); err != nil {
			log.Warn("metrics and spans were not sent", "error", err)
		}
	}()

	host, noKVM := vmexec.Open(vmexec.KVM)
	if noKVM != nil {
		host = nil
		log.Warn("there is no KVM: sinks are served only where the administrator allows ptrace", "reason", noKVM)
	} else {
		defer func() { err = errors.Join(err, host.Close()) }()
	}
	administrator, err := administratorConfig(ctx, kube, configs, dedicated)
	if err != nil {
		return err
	}
	secrets := cluster.PullSecrets(install.PullSecretsDir)
	var keychain authn.Keychain
	if dedicated {
		keychain = secrets
	}
	images, kept, err := f.Stores(keychain, administrator, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	worker, jail, free, err := f.Workers(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()

	var allowPtrace atomic.Bool
	sinks := kontainsink.Get(ctx)
	settings := cluster.Config{
		Informer: sinks.Informer(), Lister: sinks.Lister(), Only: only,
		NoKVM: noKVM, AllowPtrace: allowPtrace.Load, StartTime: f.startTime, Logger: log,
	}
	if dedicated {
		settings.Scope, settings.Missing = secrets.Scope, secrets.Missing
		settings.Value, settings.Values = sinkValues(), os.Getenv(install.SinkValuesEnv)
	}
	origin := cluster.New(settings)
	if dedicated {
		go secrets.Watch(ctx, secretsInterval, origin.Changed)
	}
	configs.Watch(install.ConfigName(), func(cm *corev1.ConfigMap) {
		c, err := install.NewConfigFromConfigMap(cm)
		if err != nil {
			log.Error("the ConfigMap is wrong; what it said before holds", "configMap", cm.Name, "error", err)
			return
		}
		if allowPtrace.Swap(c.AllowPtrace) != c.AllowPtrace {
			origin.Changed()
		}
	})

	features := feature.NewStore(sugared.Named("features"))
	features.WatchConfigs(configs)
	replay := &cluster.Replay{Watcher: configs, Name: feature.FlagsConfigName}
	verifier := auth.NewVerifier(ctx, eventpolicy.Get(ctx).Lister(), trustBundles(ctx, kube, dedicated), replay)
	go replay.Repeat(ctx, issuerInterval, func() bool { return features.Load().IsOIDCAuthentication() && !verifier.IsReady() })

	tls, err := cluster.TLS(certificates(ctx, kube, dedicated))
	if err != nil {
		return err
	}
	srv, err := server.New(server.Config{
		Origin: origin,
		Listen: f.listen, ListenTLS: f.listenTLS, TLS: tls, Wrap: cluster.Transport(features.Load),
		Metrics: to.metrics, ListenMetrics: f.metrics,
		ListenProbes: f.listenStatus, Probes: sinkstatus.Handler(origin.Status),
		Host: host, Worker: worker, Jail: jail, Memory: uint64(f.Memory), Snapshots: kept, Images: images,
		NoEgress: !dedicated,
		Receiver: receiver.Options{
			MaxBody:    int64(f.maxBody),
			Tracer:     to.tracer,
			Authorizer: &cluster.Auth{Verifier: verifier, Features: features.Load, Sinks: sinks.Lister(), Logger: log},
		},
		QuietPeriod: f.quietPeriod, DrainTimeout: f.drainTimeout, Logger: log,
	})
	if err != nil {
		return err
	}
	if err := configs.Start(ctx.Done()); err != nil {
		return fmt.Errorf("watch ConfigMaps: %w", err)
	}
	if err := controller.StartInformers(ctx.Done(), shared...); err != nil {
		return fmt.Errorf("start informers: %w", err)
	}
	log.Info("receiver", "events", srv.Addr(), "tls", srv.TLSAddr(), "status", srv.ProbeAddr(), "metrics", srv.MetricsAddr(), "only", os.Getenv(install.SinkEnv))
	return srv.Run(ctx)
}

// onlySink returns the sink of a dedicated receiver.
func onlySink() (types.NamespacedName, error) {
	value := os.Getenv(install.SinkEnv)
	if value == "" {
		return types.NamespacedName{}, nil
	}
	namespace, name, ok := strings.Cut(value, "/")
	if !ok || namespace == "" || name == "" {
		return types.NamespacedName{}, fmt.Errorf("%s=%q: must be NAMESPACE/NAME", install.SinkEnv, value)
	}
	return types.NamespacedName{Namespace: namespace, Name: name}, nil
}

// sinkValues returns what finds the values of variables that the kubelet took from Secrets
// and ConfigMaps. They are taken out of the environment, which processes hand on.
func sinkValues() func(int) (string, bool) {
	values := map[string]string{}
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, install.SinkValueEnvPrefix) {
			values[name] = value
			_ = os.Unsetenv(name) // fails for names that cannot be set alone
		}
	}
	return func(index int) (string, bool) {
		value, ok := values[install.SinkValueEnv(index)]
		return value, ok
	}
}

// watchConfigs returns a watcher of the ConfigMaps of the system namespace, which a
// dedicated receiver is told by its environment, and what they say of logs.
func watchConfigs(ctx context.Context, kube kubernetes.Interface, dedicated bool) (configmap.Watcher, *logging.Config, error) {
	if dedicated {
		w, err := install.ConfigWatcher(system.Namespace(), os.Getenv(install.ConfigEnv))
		if err != nil {
			return nil, nil, err
		}
		var c *logging.Config
		w.Watch(logging.ConfigMapName(), func(cm *corev1.ConfigMap) { c, err = logging.NewConfigFromConfigMap(cm) })
		return w, c, err
	}
	w := informer.NewInformedWatcher(kube, system.Namespace())
	for _, name := range install.ReceiverConfigMaps() {
		w.WatchWithDefault(corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system.Namespace(), Name: name}})
	}
	c, err := utils.GetLoggingConfig(ctx, system.Namespace(), logging.ConfigMapName())
	if err != nil {
		return nil, nil, fmt.Errorf("read the ConfigMap %s: %w", logging.ConfigMapName(), err)
	}
	return w, c, nil
}

// administratorConfig returns the administrator's ConfigMap as it is at the start. One
// that cannot be read is an error: registries would be asked otherwise than it says.
func administratorConfig(ctx context.Context, kube kubernetes.Interface, configs configmap.Watcher, dedicated bool) (*install.Config, error) {
	cm := &corev1.ConfigMap{}
	if dedicated {
		configs.Watch(install.ConfigName(), func(found *corev1.ConfigMap) { cm = found })
	} else {
		found, err := kube.CoreV1().ConfigMaps(system.Namespace()).Get(ctx, install.ConfigName(), metav1.GetOptions{})
		if err == nil {
			cm = found
		} else if !apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("read the ConfigMap %s: %w", install.ConfigName(), err)
		}
	}
	c, err := install.NewConfigFromConfigMap(cm)
	if err != nil {
		return nil, fmt.Errorf("the ConfigMap %s: %w", install.ConfigName(), err)
	}
	return c, nil
}

// trustBundles has the certificates that issuers of tokens outside of the cluster are
// known by. A dedicated receiver may not read them.
func trustBundles(ctx context.Context, kube kubernetes.Interface, dedicated bool) corev1listers.ConfigMapNamespaceLister {
	if dedicated {
		return nil
	}
	factory := informers.NewSharedInformerFactoryWithOptions(kube, controller.DefaultResyncPeriod, informers.WithNamespace(system.Namespace()),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = eventingtls.TrustBundleLabelSelector }))
	lister := factory.Core().V1().ConfigMaps().Lister().ConfigMaps(system.Namespace())
	factory.Start(ctx.Done())
	return lister
}

// certificates returns what finds the certificate for TLS. It reads one Secret by name, and
// may read no other.
func certificates(ctx context.Context, kube kubernetes.Interface, dedicated bool) eventingtls.GetCertificate {
	if dedicated {
		return cluster.CertificateFiles(install.TLSDir)
	}
	name := types.NamespacedName{Namespace: system.Namespace(), Name: install.ReceiverTLSSecretName}
	factory := informers.NewSharedInformerFactoryWithOptions(kube, controller.DefaultResyncPeriod, informers.WithNamespace(name.Namespace),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector(metav1.ObjectNameField, name.Name).String()
		}))
	find := eventingtls.GetCertificateFromSecret(logging.WithLogger(ctx, zap.NewNop().Sugar()), factory.Core().V1().Secrets(), kube, name)
	factory.Start(ctx.Done())
	return find
}
