// Copyright The podid Authors.
// SPDX-License-Identifier: Apache-2.0

package operator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"podid/internal/operator/admissionpolicy"
	"podid/internal/operator/cabundle"
	"podid/internal/operator/certs"
	"podid/internal/operator/feed"
	"podid/internal/operator/owner"
	"podid/internal/operator/podpatch"
	"podid/internal/operator/serviceaccounts"
	"podid/internal/operator/serving"
	"podid/internal/operator/webhook"
	"podid/internal/operator/webhookconfig"
)

// Who changes pods.
const (
	ModeWebhook = "webhook"          // the operator, called by the API server
	ModePolicy  = "admission-policy" // the API server, by a MutatingAdmissionPolicy
)

// Where the webhook's certificate comes from.
const (
	CertificatesSelf  = "self"  // made and renewed by the operator
	CertificatesFiles = "files" // read from CertDir, and read again when they change
)

// Injection is how pods come to what they need.
type Injection struct {
	Mode         string // ModeWebhook or ModePolicy; "" is ModeWebhook
	Address      string // host:port of the webhook; "" serves none
	MinTLS       uint16 // 0 is TLS 1.2
	Drain        time.Duration
	Certificates string // CertificatesSelf or CertificatesFiles
	CertDir      string // for CertificatesFiles
	Owner        string // ClusterRole that owns what the operator makes; "" for none
	Settings     podpatch.Settings
	CAFiles      []string // PEM files of authorities that pods are given; none for none
}

func (c *Injection) validate() error {
	var problems []error
	if err := c.Settings.Validate(); err != nil {
		problems = append(problems, err)
	}
	if c.Mode != ModeWebhook && c.Mode != ModePolicy {
		problems = append(problems, fmt.Errorf("mode %q: want %s or %s", c.Mode, ModeWebhook, ModePolicy))
	}
	switch {
	case c.Mode == ModePolicy: // which needs no certificate
	case c.Certificates != CertificatesSelf && c.Certificates != CertificatesFiles:
		problems = append(problems, fmt.Errorf("webhook certificates %q: want %s or %s", c.Certificates, CertificatesSelf, CertificatesFiles))
	case c.Certificates == CertificatesFiles && c.CertDir == "":
		problems = append(problems, errors.New("webhook certificates from files need the folder that they are in"))
	}
	return errors.Join(problems...)
}

// injection is the making of the webhook and what it needs.
type injection struct {
	mgr    manager.Manager
	cfg    *Config
	feed   *feed.Feed
	client client.WithWatch
	owner  *owner.Owner
}

// addInjection sets up what gives pods their identity: the webhook, on every
// replica, or what the API server does it by.
func addInjection(mgr manager.Manager, cfg *Config, r *rooms) error {
	if cfg.Injection.Mode == "" {
		cfg.Injection.Mode = ModeWebhook
	}
	if cfg.Injection.Mode == ModeWebhook && cfg.Injection.Address == "" {
		return nil
	}
	if len(cfg.Injection.CAFiles) > 0 {
		cfg.Injection.Settings.CA = podpatch.CA{ConfigMap: cabundle.Name, Key: cabundle.Key}
	}
	if err := cfg.Injection.validate(); err != nil {
		return err
	}
	c, err := watching(mgr)
	if err != nil {
		return err
	}
	i := &injection{mgr: mgr, cfg: cfg, feed: r.feed, client: c, owner: &owner.Owner{Client: c, Name: cfg.Injection.Owner, Now: time.Now, Log: cfg.Log}}
	accounts, err := serviceaccounts.New(c, metrics.Registry, cfg.Log)
	if err != nil {
		return fmt.Errorf("follow service accounts: %w", err)
	}
	if err := mgr.Add(accounts); err != nil {
		return fmt.Errorf("follow service accounts: %w", err)
	}
	if cfg.Injection.Mode == ModePolicy {
		return i.policy(accounts)
	}
	return i.webhook(accounts)
}

// watching is a client that reads from the API server itself. The manager's
// own would keep a copy of all that it is once asked for.
func watching(mgr manager.Manager) (client.WithWatch, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(corev1.AddToScheme(scheme), admissionv1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("register types: %w", err)
	}
	c, err := client.NewWithWatch(mgr.GetConfig(), client.Options{HTTPClient: mgr.GetHTTPClient(), Scheme: scheme, Mapper: mgr.GetRESTMapper()})
	if err != nil {
		return nil, fmt.Errorf("make a client of the API server: %w", err)
	}
	return c, nil
}

func (i *injection) webhook(accounts *serviceaccounts.Book) error {
	current, err := i.certificate()
	if err != nil {
		return err
	}
	counts, err := webhook.NewMetrics(metrics.Registry)
	if err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	handler := &webhook.Handler{
		Associations: i.feed, ServiceAccounts: accounts, Metrics: counts, Log: i.cfg.Log, Now: time.Now,
		Patcher: &podpatch.Patcher{Settings: i.cfg.Injection.Settings, Jitter: rand.Int64N},
	}
	if len(i.cfg.Injection.CAFiles) > 0 {
		if handler.Injected, err = i.authorities(nil); err != nil {
			return err
		}
	}
	return serving.Add(context.Background(), i.mgr, serving.Config{
		Address: i.cfg.Injection.Address, Handler: handler, Certificate: current.Certificate,
		MinVersion: i.cfg.Injection.MinTLS, Drain: i.cfg.Injection.Drain, Log: i.cfg.Log,
		Ready: []serving.Condition{
			{Name: "the list of associations", Met: func() bool { return i.feed.Check(nil) == nil }},
			{Name: "the list of service accounts", Met: accounts.Ready},
			{Name: "the certificate", Met: current.Ready},
		},
	})
}

// policy sets up what the API server changes pods by.
func (i *injection) policy(accounts *serviceaccounts.Book) error {
	var m *admissionpolicy.Maintainer // known before anything runs
	var injected func(context.Context, string)
	var err error
	if len(i.cfg.Injection.CAFiles) > 0 {
		if injected, err = i.authorities(func(namespace string) bool { return m.Has(namespace) }); err != nil {
			return err
		}
	}
	m, err = admissionpolicy.New(admissionpolicy.Config{
		Client: i.client, Mapper: i.mgr.GetRESTMapper(), Associated: associated{i.feed}, Accounts: accounts, Settings: i.cfg.Injection.Settings,
		Excluded: []string{"kube-system", i.cfg.Namespace}, Owner: i.owner.References, Injected: injected, Metrics: metrics.Registry, Log: i.cfg.Log,
	})
	if err != nil {
		return fmt.Errorf("maintain the admission policy: %w", err)
	}
	return i.mgr.Add(m)
}

// associated is a feed as a policy's maintainer sees it.
type associated struct{ *feed.Feed }

func (a associated) All() iter.Seq2[string, string] {
	s := a.Snapshot()
	return func(yield func(string, string) bool) {
		for x := range s.All() {
			if !yield(x.Namespace, x.ServiceAccount) {
				return
			}
		}
	}
}

// authorities sets up the ConfigMaps that pods mount.
func (i *injection) authorities(needed func(string) bool) (func(context.Context, string), error) {
	k, err := cabundle.New(cabundle.Config{
		Client: i.client, Read: cabundle.PEM(os.ReadFile, i.cfg.Injection.CAFiles...), Owner: i.owner.References, Needed: needed, Now: time.Now, Metrics: metrics.Registry, Log: i.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return k.Injected, errors.Join(i.mgr.Add(k), i.mgr.Add(cabundle.Sweeper{Keeper: k}))
}

// certificate sets up the certificate and whom it is trusted by.
func (i *injection) certificate() (*certs.Current, error) {
	options := webhookconfig.Options{Namespace: i.cfg.Namespace}
	var current *certs.Current
	var runs manager.Runnable
	if i.cfg.Injection.Certificates == CertificatesFiles {
		f := &certs.Files{Dir: i.cfg.Injection.CertDir, Now: time.Now, Log: i.cfg.Log}
		current, runs = &f.Current, f
	} else {
		k := certs.NewKept(certs.KeptConfig{
			Client: i.client, Secret: client.ObjectKey{Namespace: i.cfg.Namespace, Name: webhookconfig.Name + "-webhook"},
			Names: serverNames(i.cfg.Namespace), Owner: i.owner.References, Now: time.Now, Log: i.cfg.Log,
		})
		current, runs = &k.Current, k
	}
	keeper, err := webhookconfig.New(webhookconfig.Config{
		Client: i.client, Authorities: current.Authorities, Foreign: i.cfg.Injection.Certificates == CertificatesFiles,
		Desired: webhookconfig.Desired(options), Metrics: metrics.Registry, Log: i.cfg.Log,
	})
	if err != nil {
		return nil, fmt.Errorf("look after the webhook configuration: %w", err)
	}
	current.OnChange(keeper.Wake)
	return current, errors.Join(i.mgr.Add(runs), i.mgr.Add(keeper))
}

// serverNames are those that the webhook's Service is called by; API servers use the first.
func serverNames(namespace string) []string {
	service := webhookconfig.Name + "." + namespace + ".svc"
	return []string{service, service + ".cluster.local", webhookconfig.Name + "." + namespace, webhookconfig.Name}
}

// TLSVersion reads the name of a version: 1.2 or 1.3.
func TLSVersion(name string) (uint16, error) {
	switch name {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("TLS version %q: want 1.2 or 1.3", name)
}
