// Copyright 2026 The Kontain Eventing Authors
// SPDX-License-Identifier: Apache-2.0

// Command source runs the KontainSources of a Kubernetes cluster: its replicas share them
// out by leases.
package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	// The container has no certificates of its own; registries are asked over HTTPS.
	_ "golang.org/x/crypto/x509roots/fallback"

	// Nor has it a database of time zones.
	_ "time/tzdata"

	"github.com/google/go-containerregistry/pkg/authn"
	"go.uber.org/zap/exp/zapslog"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
	"knative.dev/eventing/pkg/auth"
	"knative.dev/eventing/pkg/eventingtls"
	"knative.dev/eventing/pkg/utils"
	kubeclient "knative.dev/pkg/client/injection/kube/client"
	"knative.dev/pkg/configmap/informer"
	"knative.dev/pkg/controller"
	"knative.dev/pkg/injection"
	"knative.dev/pkg/injection/sharedmain"
	"knative.dev/pkg/leaderelection"
	"knative.dev/pkg/logging"
	"knative.dev/pkg/reconciler"
	"knative.dev/pkg/signals"
	"knative.dev/pkg/system"

	"kontain.dev/eventing/pkg/client/clientset/versioned/scheme"
	kontainclient "kontain.dev/eventing/pkg/client/injection/client"
	"kontain.dev/eventing/pkg/client/injection/informers/sources/v1alpha1/kontainsource"
	"kontain.dev/eventing/pkg/install"
	"kontain.dev/eventing/pkg/lease"
	"kontain.dev/eventing/pkg/observability"
	"kontain.dev/eventing/pkg/podflags"
	"kontain.dev/eventing/pkg/server"
	"kontain.dev/eventing/pkg/source/cluster"
	"kontain.dev/eventing/pkg/source/journal/object"
	"kontain.dev/eventing/pkg/telemetry"
	"kontain.dev/eventing/vmexec"
)

const component = install.SourceName

// How long a lease is good for that is not renewed, when its holder gives it up, and how
// often it is renewed. A pod that is lost is followed by another one after leaseTime; a
// program that ends in its pod takes its own leases again at once.
const (
	leaseTime  = 15 * time.Second
	leaseLimit = 10 * time.Second
	leaseRetry = 2 * time.Second
)

// What the API server may be asked a second: a run whose events are sent is one write.
const (
	apiRate  = 500
	apiBurst = 1000
)

// flushTime is how long metrics may take to be sent at the end.
const flushTime = 5 * time.Second

type flags struct {
	podflags.Flags
	listen, metrics string
}

func main() {
	if err := run(signals.NewContext()); err != nil {
		fmt.Fprintln(os.Stderr, component+":", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	var f flags
	f.Flags.Add(flag.CommandLine)
	flag.StringVar(&f.listen, "listen-status", fmt.Sprintf(":%d", install.SourceProbesPort), "`address` for probes")
	flag.StringVar(&f.metrics, "metrics-address", fmt.Sprintf(":%d", install.MetricsPort), "`address` to answer Prometheus on, at /metrics")
	rest := injection.ParseAndGetRESTConfigOrDie()
	if err := f.Check(); err != nil {
		return err
	}
	pod := os.Getenv("POD_NAME")
	if pod == "" {
		return errors.New("POD_NAME is not set: leases are held in the name of the pod")
	}
	rest.QPS, rest.Burst = apiRate, apiBurst
	// What goes on after the signal: the sources are stopped first.
	after, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	after = injection.WithConfig(after, rest)
	after, shared := injection.Default.SetupInformers(after, rest)
	kube := kubeclient.Get(after)

	configs := informer.NewInformedWatcher(kube, system.Namespace())
	logConfig, err := utils.GetLoggingConfig(after, system.Namespace(), logging.ConfigMapName())
	if err != nil {
		return fmt.Errorf("read the ConfigMap %s: %w", logging.ConfigMapName(), err)
	}
	sugared, level := logging.NewLoggerFromConfig(logConfig, component)
	defer sugared.Sync() //nolint:errcheck // It is stderr, which cannot be synced.
	after = logging.WithLogger(after, sugared)
	log := slog.New(zapslog.NewHandler(sugared.Desugar().Core()))
	for _, name := range []string{logging.ConfigMapName(), install.ConfigName()} {
		configs.WatchWithDefault(corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: system.Namespace(), Name: name}})
	}
	configs.Watch(logging.ConfigMapName(), logging.UpdateLevelFromConfigMap(sugared, level, component))

	metrics, flush, err := newMetrics(after, kube)
	if err != nil {
		return err
	}
	defer func() {
		if err := flush(); err != nil {
			log.Warn("metrics were not sent", "error", err)
		}
	}()

	host, noKVM := vmexec.Open(vmexec.KVM)
	if noKVM != nil {
		host = nil
		log.Warn("there is no KVM: sources run only where the administrator allows ptrace", "reason", noKVM)
	} else {
		defer func() { err = errors.Join(err, host.Close()) }()
	}
	administrator, err := administratorConfig(after, kube)
	if err != nil {
		return err
	}
	images, kept, err := f.Stores(authn.NewMultiKeychain(), administrator, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	worker, jail, free, err := f.Workers(log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, free()) }()
	if f.Memory == 0 {
		f.Memory = podflags.Quantity(server.DefaultMemory())
	}
	engine := server.NewEngine(host, lease.Options{
		Memory: lease.NewMemory(uint64(f.Memory)),
		Worker: worker, Store: kept, NoEgress: true,
	}, jail, log)
	defer func() { err = errors.Join(err, engine.Close()) }()

	sources := kontainsource.Get(after)
	client := kontainclient.Get(after)
	events, stopEvents := recorder(after, kube)
	defer stopEvents()
	bundles := newBundles(after, kube)
	var allowPtrace atomic.Bool
	origin := cluster.New(cluster.Config{
		Informer: sources.Informer(), Lister: sources.Lister(),
		States: func(namespace string) object.Client {
			return client.SourcesV1alpha1().KontainSourceStates(namespace)
		},
		Identity: pod, Images: images, Machines: engine, NoKVM: noKVM, AllowPtrace: allowPtrace.Load,
		Token: auth.NewOIDCTokenProvider(after).GetJWT, TrustBundles: bundles.pem,
		Events: events, Logger: log, Ran: metrics.Ran,
	})
	metrics.Watch(origin.Stats)
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

	ready := make(chan struct{})
	defer answer(f.listen, probes(ready), log)()
	asked := http.NewServeMux()
	asked.Handle("GET /metrics", metrics.Handler())
	defer answer(f.metrics, asked, log)()
	if err := configs.Start(after.Done()); err != nil {
		return fmt.Errorf("watch ConfigMaps: %w", err)
	}
	if err := controller.StartInformers(after.Done(), shared...); err != nil {
		return fmt.Errorf("start informers: %w", err)
	}
	if err := bundles.start(after, origin.Changed); err != nil {
		return err
	}
	elector, err := elector(after, kube, pod, origin)
	if err != nil {
		return err
	}
	var leading sync.WaitGroup
	elect, yield := context.WithCancel(after)
	leading.Go(func() { elector.Run(elect) })
	close(ready)
	log.Info("source adapter", "pod", pod, "probes", f.listen)
	err = origin.Run(ctx)
	// Nothing runs here any more: another adapter may have the leases.
	yield()
	leading.Wait()
	return err
}

// administratorConfig returns the administrator's ConfigMap as it is at the start. One
// that cannot be read is an error: registries would be asked otherwise than it says.
func administratorConfig(ctx context.Context, kube kubernetes.Interface) (*install.Config, error) {
	cm, err := kube.CoreV1().ConfigMaps(system.Namespace()).Get(ctx, install.ConfigName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return install.NewConfig(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the ConfigMap %s: %w", install.ConfigName(), err)
	}
	c, err := install.NewConfigFromConfigMap(cm)
	if err != nil {
		return nil, fmt.Errorf("the ConfigMap %s: %w", install.ConfigName(), err)
	}
	return c, nil
}

// elector returns what holds the leases of buckets. How many there are is in the ConfigMap
// config-leader-election, as for all of Knative's.
func elector(ctx context.Context, kube kubernetes.Interface, pod string, origin *cluster.Origin) (leaderelection.Elector, error) {
	config, err := sharedmain.GetLeaderElectionConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the configuration of leader election: %w", err)
	}
	c := config.GetComponentConfig(component)
	c.Identity, c.LeaseDuration, c.RenewDeadline, c.RetryPeriod = pod, leaseTime, leaseLimit, leaseRetry
	return leaderelection.BuildElector(leaderelection.WithStandardLeaderElectorBuilder(ctx, kube, c), origin, "kontainsources",
		// The origin lists what is in a bucket itself.
		func(reconciler.Bucket, types.NamespacedName) {})
}

// recorder returns what makes events.
func recorder(ctx context.Context, kube kubernetes.Interface) (record.EventRecorder, func()) {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: kube.CoreV1().Events("")})
	return b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: component}), b.Shutdown
}

// newMetrics returns the metrics, which are also sent where config-observability says, and
// what sends the last of them.
func newMetrics(ctx context.Context, kube kubernetes.Interface) (*observability.Sources, func() error, error) {
	cm, err := telemetry.ConfigMap(ctx, kube)
	if err != nil {
		return nil, nil, err
	}
	o, _, err := telemetry.Options(ctx, cm, component)
	if err != nil {
		return nil, nil, err
	}
	m, err := observability.NewSources(o)
	if err != nil {
		return nil, nil, err
	}
	return m, func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer cancel()
		return m.Shutdown(ctx)
	}, nil
}

// probes answers the kubelet.
func probes(ready <-chan struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-ready:
		default:
			http.Error(w, "KontainSources are not known yet", http.StatusServiceUnavailable)
		}
	})
	return mux
}

// answer answers requests until stop is called.
func answer(address string, h http.Handler, log *slog.Logger) (stop func()) {
	s := &http.Server{Addr: address, Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		if err := s.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			log.Error("requests are not answered", "address", address, "error", err)
		}
	}()
	return func() { _ = s.Close() }
}

// bundles are Knative's trust bundles: certificates that those of sinks may be signed by.
type bundles struct {
	informer cache.SharedIndexInformer
	list     func() ([]*corev1.ConfigMap, error)
}

func newBundles(ctx context.Context, kube kubernetes.Interface) *bundles {
	factory := informers.NewSharedInformerFactoryWithOptions(kube, controller.GetResyncPeriod(ctx), informers.WithNamespace(system.Namespace()),
		informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = eventingtls.TrustBundleLabelSelector }))
	maps := factory.Core().V1().ConfigMaps()
	return &bundles{maps.Informer(), func() ([]*corev1.ConfigMap, error) {
		return maps.Lister().ConfigMaps(system.Namespace()).List(labels.Everything())
	}}
}

// start watches them, and says when they change.
func (b *bundles) start(ctx context.Context, changed func()) error {
	if err := controller.StartInformers(ctx.Done(), b.informer); err != nil {
		return fmt.Errorf("watch trust bundles: %w", err)
	}
	_, err := b.informer.AddEventHandler(controller.HandleAll(func(any) { changed() }))
	return err
}

// pem returns them; one that is none is left out, as in the rest of Knative.
func (b *bundles) pem() []byte {
	maps, err := b.list()
	if err != nil {
		return nil
	}
	slices.SortFunc(maps, func(a, b *corev1.ConfigMap) int { return strings.Compare(a.Name, b.Name) })
	var all bytes.Buffer
	for _, m := range maps {
		keys := make([]string, 0, len(m.Data))
		for key := range m.Data {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for _, key := range keys {
			if text := []byte(m.Data[key]); x509.NewCertPool().AppendCertsFromPEM(text) {
				all.Write(text)
				all.WriteByte('\n')
			}
		}
	}
	return all.Bytes()
}
